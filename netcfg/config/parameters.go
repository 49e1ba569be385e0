package config

import (
	"net"
	"strconv"
)

// Values of parameters of bonds (kernel document networking/bonding.rst), in the order of the kernel's
// numbers.
var (
	bondModes    = []string{"balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"}
	lacpRates    = []string{"slow", "fast"}
	hashPolicies = []string{"layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4", "vlan+srcmac"}
	adSelects    = []string{"stable", "bandwidth", "count"}
	arpValidates = []string{"none", "active", "backup", "all"}
	arpAlls      = []string{"any", "all"}
	failOvers    = []string{"none", "active", "follow"}
	primaries    = []string{"always", "better", "failure"}
)

// BondValue returns the name of a value that the kernel has by a number; empty if there is none.
func BondValue(field string, number int) string {
	names := map[string][]string{
		"mode": bondModes, "lacp-rate": lacpRates, "transmit-hash-policy": hashPolicies, "ad-select": adSelects, "arp-validate": arpValidates, "arp-all-targets": arpAlls,
		"fail-over-mac-policy": failOvers, "primary-reselect-policy": primaries,
	}[field]
	if number < 0 || number >= len(names) {
		return ""
	}
	return names[number]
}

func (r *reader) bondParameters(field []string, b *bond) *BondParameters {
	p, field := b.Parameters, in(field, "parameters")
	for name, x := range map[string]struct {
		value   string
		allowed []string
	}{
		"mode": {p.Mode, bondModes}, "lacp-rate": {p.LACPRate, lacpRates}, "transmit-hash-policy": {p.HashPolicy, hashPolicies}, "ad-select": {p.ADSelect, adSelects},
		"arp-validate": {p.ARPValidate, arpValidates}, "arp-all-targets": {p.ARPAllTargets, arpAlls}, "fail-over-mac-policy": {p.FailOverMAC, failOvers},
		"primary-reselect-policy": {p.PrimarySelect, primaries},
	} {
		r.oneOf(in(field, name), x.value, x.allowed)
	}
	for name, x := range map[string]struct{ value, high int }{
		"mii-monitor-interval": {p.MIIMonitor, 1<<31 - 1}, "up-delay": {p.UpDelay, 1<<31 - 1}, "down-delay": {p.DownDelay, 1<<31 - 1}, "arp-interval": {p.ARPInterval, 1<<31 - 1},
		"min-links": {p.MinLinks, 1<<31 - 1}, "gratuitous-arp": {p.GratuitousARP, 255}, "packets-per-member": {p.PacketsPerMember, 65535},
		"resend-igmp": {p.ResendIGMP, 255}, "learn-packet-interval": {p.LearnInterval, 1<<31 - 1},
	} {
		r.between(in(field, name), x.value, 0, x.high)
	}
	if p.ARPInterval > 0 && p.MIIMonitor > 0 {
		r.errorf(in(field, "arp-interval"), "mii-monitor-interval excludes it")
	}
	if (p.UpDelay > 0 || p.DownDelay > 0) && p.MIIMonitor == 0 {
		r.errorf(field, "up-delay and down-delay need mii-monitor-interval")
	}
	made := &BondParameters{
		Mode: p.Mode, LACPRate: p.LACPRate, HashPolicy: p.HashPolicy, ADSelect: p.ADSelect, ARPValidate: p.ARPValidate, ARPAllTargets: p.ARPAllTargets,
		FailOverMAC: p.FailOverMAC, PrimarySelect: p.PrimarySelect, MIIMonitor: p.MIIMonitor, UpDelay: p.UpDelay, DownDelay: p.DownDelay, ARPInterval: p.ARPInterval,
		MinLinks: p.MinLinks, GratuitousARP: p.GratuitousARP, PacketsPerMember: p.PacketsPerMember, ResendIGMP: p.ResendIGMP, LearnInterval: p.LearnInterval,
		AllMembersActive: p.AllMembersActive, Primary: p.Primary,
	}
	for _, a := range p.ARPTargets {
		if !a.Is4() {
			r.errorf(in(field, "arp-ip-targets"), "%s is no address of IPv4", a)
		}
		made.ARPTargets = append(made.ARPTargets, a.Addr)
	}
	return made
}

func (r *reader) bridgeParameters(field []string, p bridgeParameters) *BridgeParameters {
	for name, x := range map[string]struct {
		value     *int
		low, high int
	}{
		"ageing-time": {p.AgeingTime, 0, 1000000}, "forward-delay": {p.ForwardDelay, 2, 30}, "hello-time": {p.HelloTime, 1, 10}, "max-age": {p.MaxAge, 6, 40},
		"priority": {p.Priority, 0, 65535},
	} {
		if x.value != nil {
			r.between(in(field, name), *x.value, x.low, x.high)
		}
	}
	return &BridgeParameters{STP: p.STP, AgeingTime: p.AgeingTime, ForwardDelay: p.ForwardDelay, HelloTime: p.HelloTime, MaxAge: p.MaxAge, Priority: p.Priority}
}

// wireguard makes a tunnel.
func (r *reader) wireguard(id string, t *tunnel) Link {
	field := []string{"tunnels", id}
	l := r.link(field, id, Wireguard, &t.device)
	if t.Mode != string(Wireguard) {
		r.errorf(in(field, "mode"), "want wireguard, not %q", t.Mode)
	}
	w := &WireguardParameters{Port: t.Port, Mark: t.Mark}
	r.between(in(field, "port"), t.Port, 0, 65535)
	r.between(in(field, "mark"), t.Mark, 0, 1<<31-1)
	w.Key.Bytes, w.KeyFile = r.secret(in(field, "key"), t.Key)
	if t.Key == "" {
		r.errorf(field, "want key, 32 bytes in base64 or the absolute path of a file with them")
	}
	known := map[[32]byte]bool{}
	for i, p := range t.Peers {
		at := in(field, "peers", strconv.Itoa(i))
		made := WireguardPeer{Endpoint: p.Endpoint, Keepalive: p.Keepalive}
		public, file, ok := parseKey(p.Keys.Public)
		switch {
		case !ok || file != "":
			r.errorf(in(at, "keys", "public"), "want 32 bytes in base64")
		case known[*public]:
			r.errorf(in(at, "keys", "public"), "another peer has this key")
		default:
			made.Public = *public
			known[*public] = true
		}
		if p.Keys.Shared != "" {
			made.Shared.Bytes, made.SharedFile = r.secret(in(at, "keys", "shared"), p.Keys.Shared)
		}
		if p.Endpoint != "" {
			if host, port, err := net.SplitHostPort(p.Endpoint); err != nil || host == "" || port == "" {
				r.errorf(in(at, "endpoint"), "%q: want HOST:PORT", p.Endpoint)
			}
		}
		r.between(in(at, "keepalive"), p.Keepalive, 0, 65535)
		for _, a := range p.AllowedIPs {
			made.AllowedIPs = append(made.AllowedIPs, a.Prefix)
		}
		w.Peers = append(w.Peers, made)
	}
	l.Wireguard = w
	return l
}

// secret parses a key, without printing it in an error.
func (r *reader) secret(field []string, text string) (*[32]byte, string) {
	key, file, ok := parseKey(text)
	if !ok && text != "" {
		r.errorf(field, "want 32 bytes in base64, or the absolute path of a file with them")
	}
	return key, file
}
