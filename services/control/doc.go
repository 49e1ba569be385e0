// Package control is the control API of the supervisor, and its client: HTTP/1.1 with
// JSON over a Unix stream socket. docs/api.yaml describes it (OpenAPI 3.1), docs/api.md
// introduces it.
//
// Errors are problem documents (RFC 9457). A client that accepts text/event-stream gets
// the progress of a long request as server-sent events
// (https://html.spec.whatwg.org/multipage/server-sent-events.html).
//
// The socket has mode 0600, and a connection is refused unless its peer is root or the
// user of this process, in the system or in a container that has the socket. Requests are
// limited in size, in time and in number, for each process and in total, so that a client
// that is slow or hostile keeps no other one from an answer.
package control
