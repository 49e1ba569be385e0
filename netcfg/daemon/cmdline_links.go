package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"keelson/netcfg/config"
	"keelson/runtime/cmdline"
)

// commandLine is the configuration of a command line.
type commandLine struct{ config.Config }

// parent reports whether another link is made from one.
func (c commandLine) parent(id string) bool {
	return slices.ContainsFunc(c.Links, func(l config.Link) bool { return l.Parent == id })
}

// madeLinks returns the links of vlan= and bond=, with those that they are made from. Those of a
// parameter with a mistake are left out.
func madeLinks(line cmdline.Line) (c commandLine) {
	var good []string
	for _, p := range line {
		if p.Name != "bond" && !(p.Name == "vlan" && p.Set) {
			continue
		}
		word := p.Name
		if p.Set {
			word += "=" + p.Value
		}
		made, err := document(append(slices.Clone(good), word))
		if err != nil {
			for _, reason := range reasons(err) {
				c.Notes = append(c.Notes, word+": "+reason)
			}
			continue
		}
		good, c.Links = append(good, word), made.Links
	}
	for i := range c.Links {
		if l := &c.Links[i]; l.Kind == config.Physical {
			l.Match.Name, l.Fallback = literal(l.ID), true
		}
	}
	return c
}

// reasons returns the texts of errors, without a file and its lines.
func reasons(err error) (all []string) {
	var one *config.Error
	switch many, ok := err.(interface{ Unwrap() []error }); {
	case ok:
		for _, e := range many.Unwrap() {
			all = append(all, reasons(e)...)
		}
	case errors.As(err, &one) && one.Field != "":
		all = []string{one.Field + ": " + one.Text}
	case errors.As(err, &one):
		all = []string{one.Text}
	default:
		all = []string{err.Error()}
	}
	return all
}

// fields are the fields of one link in a file.
type fields map[string]any

// document makes a configuration of parameters vlan= and bond=. It has the checks of a file, since it
// is one: JSON is YAML.
func document(words []string) (config.Config, error) {
	vlans, bonds, others := map[string]fields{}, map[string]fields{}, map[string]fields{}
	var used []string
	for _, word := range words {
		kind, value, _ := strings.Cut(word, "=")
		parse, to := parseBond, bonds
		if kind == "vlan" {
			parse, to = parseVLAN, vlans
		}
		name, f, from, err := parse(value)
		if err != nil {
			return config.Config{}, err
		}
		if vlans[name] != nil || bonds[name] != nil {
			return config.Config{}, fmt.Errorf("%s is there already", name)
		}
		to[name] = f
		used = append(used, from...)
	}
	for _, name := range used {
		if vlans[name] == nil && bonds[name] == nil {
			others[name] = fields{}
		}
	}
	text, err := json.Marshal(map[string]any{"network": map[string]any{"ethernets": others, "vlans": vlans, "bonds": bonds}})
	if err != nil {
		return config.Config{}, err // Never: the values are plain.
	}
	return config.Parse(text, "the command line")
}

// parseVLAN parses NAME:DEVICE. The name has the number of the VLAN: vlan5, vlan0005, eth0.5 or eth0.0005.
func parseVLAN(value string) (name string, f fields, from []string, err error) {
	name, device, _ := strings.Cut(value, ":")
	number, ok := strings.CutPrefix(name, "vlan")
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		number, ok = name[i+1:], true
	}
	id, err := strconv.ParseUint(number, 10, 16)
	if err != nil || !ok {
		return "", nil, nil, fmt.Errorf("%q has no number of a VLAN: want vlanNUMBER or DEVICE.NUMBER", name)
	}
	if device == "" {
		return "", nil, nil, fmt.Errorf("want the device of %s, as in vlan=%s:eth0", name, name)
	}
	return name, fields{"id": id, "link": device}, []string{device}, nil
}

// bondOptions are the options of the kernel's module bonding (kernel document networking/bonding.rst)
// with the fields of a file.
var bondOptions = map[string]string{
	"mode": "mode", "miimon": "mii-monitor-interval", "updelay": "up-delay", "downdelay": "down-delay", "arp_interval": "arp-interval",
	"arp_ip_target": "arp-ip-targets", "arp_validate": "arp-validate", "arp_all_targets": "arp-all-targets", "fail_over_mac": "fail-over-mac-policy",
	"primary": "primary", "primary_reselect": "primary-reselect-policy", "lacp_rate": "lacp-rate", "xmit_hash_policy": "transmit-hash-policy", "ad_select": "ad-select",
	"min_links": "min-links", "num_grat_arp": "gratuitous-arp", "num_unsol_na": "gratuitous-arp", "packets_per_slave": "packets-per-member", "resend_igmp": "resend-igmp",
	"lp_interval": "learn-packet-interval", "all_slaves_active": "all-members-active",
}

// parseBond parses NAME:MEMBERS:OPTIONS:MTU, of which any may be missing from the end.
func parseBond(value string) (name string, f fields, from []string, err error) {
	part := append(strings.SplitN(value, ":", 4), "", "", "", "")
	name, f = part[0], fields{}
	if value == "" { // As dracut has it.
		name, part[1] = "bond0", "eth0,eth1"
	}
	for _, member := range strings.Split(part[1], ",") {
		if member != "" {
			from = append(from, member)
		}
	}
	parameters := fields{"mode": "balance-rr"}
	for _, option := range strings.Split(part[2], ",") {
		if option == "" {
			continue
		}
		key, text, _ := strings.Cut(option, "=")
		field, ok := bondOptions[key]
		if !ok {
			return "", nil, nil, fmt.Errorf("there is no option %q of bonds", key)
		}
		switch number, notNumber := strconv.Atoi(text); {
		case field == "arp-ip-targets":
			parameters[field] = strings.Split(text, ";")
		case field == "all-members-active":
			parameters[field] = text == "1"
		case field == "primary":
			parameters[field] = text
		case notNumber == nil && config.BondValue(field, number) != "":
			parameters[field] = config.BondValue(field, number)
		case notNumber == nil:
			parameters[field] = number
		default:
			parameters[field] = text
		}
	}
	f["interfaces"], f["parameters"] = from, parameters
	if part[3] != "" {
		mtu, err := strconv.Atoi(part[3])
		if err != nil {
			return "", nil, nil, fmt.Errorf("%q is no MTU", part[3])
		}
		f["mtu"] = mtu
	}
	return name, f, from, nil
}
