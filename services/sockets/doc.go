// Package sockets opens the listening sockets of services (keelson.listen) and keeps them
// while the services are restarted or swapped: connections wait in the backlog meanwhile.
//
// A Set has the sockets of all services. It stores them with PID 1 (runtime/fdstore), so
// that the next supervisor gets them. Package offer passes them to containers. It also
// keeps the sockets at which services notify the supervisor (package probe): what is sent
// while no supervisor runs waits there for the next one.
//
// Listening sockets are opened in the network namespace of the supervisor, which is the machine's.
// Errors name the socket as the annotation does.
//
// Sources: sd_listen_fds(3); systemd.socket(5); socket(7), ip(7), ipv6(7), unix(7).
package sockets
