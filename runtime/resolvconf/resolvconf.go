// Package resolvconf reads resolv.conf(5): the name servers and the search list of a system. It
// does not write the file, and knows no options.
package resolvconf

import "strings"

// Parse returns the servers as they are written, and the search list: the last line search or domain
// counts. A line that it does not know has no effect.
func Parse(text string) (servers, search []string) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			servers = append(servers, f[1])
		case "search":
			search = f[1:]
		case "domain":
			search = f[1:2]
		}
	}
	return servers, search
}
