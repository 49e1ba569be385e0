// Package gate offers the control API of a machine to clients outside it, over mutual TLS 1.3.
//
// A client is who its certificate names: the common name of the subject is its name, and the
// organization keelson:ROLE its role (control.Role). The gate passes requests on to the socket
// that the supervisor has for it, and says in headers for whom. The supervisor decides what a
// role may do; the gate has no list of operations.
//
// It runs in a container, as a user without privileges. Clients that are slow, hostile or many are
// bounded: in the time of handshakes, in connections and in requests, in total and for each client.
//
// Sources: TLS 1.3 (RFC 8446), certificates and revocation lists (RFC 5280), problem documents
// (RFC 9457), https://www.w3.org/TR/fetch-metadata/ and
// https://html.spec.whatwg.org/multipage/server-sent-events.html.
package gate
