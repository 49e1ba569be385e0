// Package order decides which services wait for which others: it turns the annotations
// keelson.after and keelson.requires into a graph without cycles. It starts and stops
// nothing and knows no states.
//
// A service starts when all services that it comes after are ready or will not run. It
// stops when all services that come after it have stopped. A service comes after those
// that it requires, and does not run unless they run.
//
// The members of a cycle could never start. They start one after the other in the order
// of their names, and an error names them.
//
// Sources: After= and Requires= of systemd.unit(5), which have the same meaning;
// R. Tarjan, "Depth-first search and linear graph algorithms" (1972).
package order
