// Package swappolicy decides whether a service may be replaced, added, removed or rolled
// back while the machine runs. The policy is a file of the image, /etc/keelson/swap.yml
// (docs/swap-policy.md). It is read when somebody asks for a change, not at boot.
//
// Without the file, services of the image can be replaced and rolled back by artifacts that
// ask for no more privileges (runtime/privilege). With it, only what the file allows is
// possible. A file that cannot be read or understood refuses everything.
//
// The package changes nothing and does not check who asks: only root can reach the
// supervisor's socket.
package swappolicy
