// Package session serves requests of the control API that last long, or take memory and processor
// time that a client decides on, each in a process of its own: the supervisor hands over the
// connection, and has no part in what follows. A client that is slow or hostile, and a fault in the
// code that answers it, cost the supervisor nothing but a descriptor. Sessions outlive the
// supervisor, and end with their connection.
//
// The process gets the socket as descriptor 3, and on its standard input what the supervisor has
// read of it, as a request of HTTP/1.1 (net/http.Request.Write). It serves that one request
// with net/http, also one that upgrades the connection.
package session
