// Package kernel reads the state of the network from the kernel and makes the changes of a plan
// (package plan), over rtnetlink(7), and generic netlink for wireguard.
//
// A change is made once: nothing is repeated or waited for. Errors name the link, and unwrap to
// the errno.
package kernel
