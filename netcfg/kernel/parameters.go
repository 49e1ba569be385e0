package kernel

import (
	"fmt"
	"net"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"keelson/netcfg/config"
)

// setParameters sets what a bridge or a wireguard link has beside what all links have.
func setParameters(link netlink.Link, w *config.Link) error {
	switch w.Kind {
	case config.Bridge:
		return setBridge(link, w.Bridge)
	case config.Wireguard:
		return setWireguard(link.Attrs().Name, w.Wireguard)
	}
	return nil
}

// clock is USER_HZ, the unit of the times of a bridge (linux/if_bridge.h): 1/100 s.
const clock = 100

// setBridge sets parameters of a bridge that the library does not know (IFLA_BR_*).
func setBridge(link netlink.Link, p *config.BridgeParameters) error {
	data := nl.NewRtAttr(nl.IFLA_INFO_DATA, nil)
	number := func(kind int, value *int, unit int) {
		if value != nil {
			data.AddRtAttr(kind, nl.Uint32Attr(uint32(*value*unit)))
		}
	}
	// Times first: the kernel accepts a forward delay only with the STP of the moment.
	number(nl.IFLA_BR_FORWARD_DELAY, p.ForwardDelay, clock)
	number(nl.IFLA_BR_HELLO_TIME, p.HelloTime, clock)
	number(nl.IFLA_BR_MAX_AGE, p.MaxAge, clock)
	number(nl.IFLA_BR_AGEING_TIME, p.AgeingTime, clock)
	if p.STP != nil {
		on := 0
		if *p.STP {
			on = 1
		}
		number(nl.IFLA_BR_STP_STATE, &on, 1)
	}
	if p.Priority != nil {
		data.AddRtAttr(nl.IFLA_BR_PRIORITY, nl.Uint16Attr(uint16(*p.Priority)))
	}
	return setInfo(link, nl.IFLA_INFO_KIND, "bridge", data)
}

// setPort sets parameters of a member of a bridge (IFLA_BRPORT_*).
func setPort(link netlink.Link, p *config.PortParameters) error {
	data := nl.NewRtAttr(nl.IFLA_INFO_SLAVE_DATA, nil)
	if p.Priority != 0 {
		data.AddRtAttr(nl.IFLA_BRPORT_PRIORITY, nl.Uint16Attr(uint16(p.Priority)))
	}
	if p.Cost != 0 {
		data.AddRtAttr(nl.IFLA_BRPORT_COST, nl.Uint32Attr(uint32(p.Cost)))
	}
	return setInfo(link, nl.IFLA_INFO_SLAVE_KIND, "bridge", data)
}

// setInfo changes the IFLA_LINKINFO of a link.
func setInfo(link netlink.Link, attribute int, kind string, data *nl.RtAttr) error {
	request := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	message := nl.NewIfInfomsg(unix.AF_UNSPEC)
	message.Index = int32(link.Attrs().Index)
	request.AddData(message)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(attribute, nl.NonZeroTerminated(kind))
	info.AddChild(data)
	request.AddData(info)
	_, err := request.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// keyLimit is more than a file with a key has, in bytes.
const keyLimit = 4096

// secret returns a key, which may be in a file; nil if there is none.
func secret(key config.Key, file string) (*wgtypes.Key, error) {
	if file != "" {
		text, err := readLimited(file, keyLimit)
		if err != nil {
			return nil, err
		}
		if key, err = config.ParseKey(text); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return (*wgtypes.Key)(key.Bytes), nil
}

func readLimited(file string, limit int) (string, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK, 0) // A FIFO must not block.
	if err != nil {
		return "", err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no regular file", file)
	}
	text := make([]byte, limit)
	n, err := f.Read(text)
	if err != nil && n == 0 {
		return "", fmt.Errorf("cannot read %s: %w", file, err)
	}
	return string(text[:n]), nil
}

// setWireguard sets keys and peers of a wireguard link. Peers that are not wanted any more are
// removed; the sessions of the others stay.
func setWireguard(name string, w *config.WireguardParameters) error {
	key, err := secret(w.Key, w.KeyFile)
	if err != nil {
		return err
	}
	client, err := wgctrl.New()
	if err != nil {
		return err
	}
	defer client.Close()
	device, err := client.Device(name)
	if err != nil {
		return err
	}
	c := wgtypes.Config{PrivateKey: key, ListenPort: &w.Port, FirewallMark: &w.Mark}
	wanted := map[wgtypes.Key]bool{}
	for _, p := range w.Peers {
		shared, err := secret(p.Shared, p.SharedFile)
		if err != nil {
			return err
		}
		if shared == nil {
			shared = &wgtypes.Key{} // None.
		}
		every := time.Duration(p.Keepalive) * time.Second
		peer := wgtypes.PeerConfig{PublicKey: p.Public, PresharedKey: shared, PersistentKeepaliveInterval: &every, ReplaceAllowedIPs: true}
		if p.Endpoint != "" {
			if peer.Endpoint, err = net.ResolveUDPAddr("udp", p.Endpoint); err != nil {
				return fmt.Errorf("endpoint %s: %w", p.Endpoint, err)
			}
		}
		for _, a := range p.AllowedIPs {
			peer.AllowedIPs = append(peer.AllowedIPs, *ipNet(a))
		}
		c.Peers = append(c.Peers, peer)
		wanted[p.Public] = true
	}
	for _, p := range device.Peers {
		if !wanted[p.PublicKey] {
			c.Peers = append(c.Peers, wgtypes.PeerConfig{PublicKey: p.PublicKey, Remove: true})
		}
	}
	return client.ConfigureDevice(name, c)
}
