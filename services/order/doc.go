// Package order decides which services have to wait for which: it turns the
// annotations keelson.after and keelson.requires into a graph without cycles.
// It starts and stops nothing and knows no states.
//
// A service is started when those it is after are ready, or will not run; it
// is stopped when those that are after it have stopped. What it requires it is
// also after, and it does not run when that does not.
//
// Members of a cycle could never start. They are made to start one after the
// other in the order of their names, and an error names them.
//
// Sources: After= and Requires= of systemd.unit(5), whose meaning this is;
// R. Tarjan, "Depth-first search and linear graph algorithms" (1972).
package order
