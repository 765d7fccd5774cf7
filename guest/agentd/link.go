//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/rules-qcow2/rules_qcow2/guest/protocol"
)

// cardDelay is how long the driver of a network card may take to load.
const cardDelay = 10 * time.Second

// setLink configures a network card, for guests without a DHCP client and for guests
// that resume with another address than they were saved with.
func (a *agent) setLink(ctx context.Context, m protocol.Link) error {
	mac, err := net.ParseMAC(m.MAC)
	if err != nil {
		return err
	}
	name, err := a.waitCard(ctx, mac)
	if err != nil {
		return err
	}
	card, err := openCard(name)
	if err != nil {
		return err
	}
	defer card.close()
	if m.NewMAC != "" {
		newMAC, err := net.ParseMAC(m.NewMAC)
		if err == nil {
			err = card.setMAC(newMAC)
		}
		if err == nil {
			err = card.replaceLinkLocal(mac, newMAC)
		}
		if err != nil {
			return fmt.Errorf("%s: set the hardware address %s: %w", name, m.NewMAC, err)
		}
	}
	if m.Prefix != "" {
		if err := card.setAddress(m.Prefix); err != nil {
			return fmt.Errorf("%s: set the address %s: %w", name, m.Prefix, err)
		}
	}
	if m.Hostname != "" {
		if err := syscall.Sethostname([]byte(m.Hostname)); err != nil {
			return fmt.Errorf("set the host name %q: %w", m.Hostname, err)
		}
	}
	if m.Nameserver != "" {
		return writeResolvConf(m.Nameserver, m.Domain)
	}
	return nil
}

// waitCard returns the name of the card with a hardware address.
func (a *agent) waitCard(ctx context.Context, mac net.HardwareAddr) (string, error) {
	for end := time.Now().Add(cardDelay); ; {
		cards, err := a.kernel.sys.list("class/net")
		if err != nil {
			return "", err
		}
		for _, name := range cards {
			have, _ := a.kernel.sys.read("class/net/" + name + "/address")
			if strings.TrimSpace(have) == mac.String() {
				return name, nil
			}
		}
		if time.Now().After(end) {
			return "", fmt.Errorf("the guest has no network card with the address %v; it may lack the driver virtio_net", mac)
		}
		runModprobe("virtio_net")
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// A card is a network card, and a socket to configure it by.
type card struct {
	name string
	fd   int
}

func openCard(name string) (*card, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return &card{name, fd}, nil
}

func (c *card) close() { syscall.Close(c.fd) }

// ifreq is struct ifreq of Linux.
type ifreq struct {
	name [syscall.IFNAMSIZ]byte
	data [24]byte
}

func (c *card) ioctl(number uintptr, r *ifreq) error {
	copy(r.name[:syscall.IFNAMSIZ-1], c.name)
	return ioctl(c.fd, number, unsafe.Pointer(r))
}

// setUp sets or clears IFF_UP.
func (c *card) setUp(up bool) error {
	var r ifreq
	if err := c.ioctl(syscall.SIOCGIFFLAGS, &r); err != nil {
		return err
	}
	flags := binary.NativeEndian.Uint16(r.data[:]) &^ syscall.IFF_UP
	if up {
		flags |= syscall.IFF_UP
	}
	binary.NativeEndian.PutUint16(r.data[:], flags)
	return c.ioctl(syscall.SIOCSIFFLAGS, &r)
}

// setMAC changes the hardware address. Not every driver can do so while the card
// is up.
func (c *card) setMAC(mac net.HardwareAddr) error {
	var r ifreq
	binary.NativeEndian.PutUint16(r.data[:], syscall.ARPHRD_ETHER)
	copy(r.data[2:], mac)
	err := c.ioctl(syscall.SIOCSIFHWADDR, &r)
	if err == nil || !errors.Is(err, syscall.EBUSY) {
		return err
	}
	if err := c.setUp(false); err != nil {
		return err
	}
	return errors.Join(c.ioctl(syscall.SIOCSIFHWADDR, &r), c.setUp(true))
}

// in6Ifreq is struct in6_ifreq of Linux.
type in6Ifreq struct {
	addr      [16]byte
	prefixLen uint32
	index     int32
}

// replaceLinkLocal gives the card the link-local IPv6 address of its MAC address instead of
// that of the old one, if the card has that. Linux makes the address only when the card goes
// up.
func (c *card) replaceLinkLocal(oldMAC, newMAC net.HardwareAddr) error {
	fd, err := syscall.Socket(syscall.AF_INET6, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err == syscall.EAFNOSUPPORT {
		return nil
	}
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	var r ifreq
	if err := c.ioctl(syscall.SIOCGIFINDEX, &r); err != nil {
		return err
	}
	address := in6Ifreq{addr: linkLocal(oldMAC), prefixLen: 64, index: int32(binary.NativeEndian.Uint32(r.data[:]))}
	err = ioctl(fd, syscall.SIOCDIFADDR, unsafe.Pointer(&address))
	if err == syscall.EADDRNOTAVAIL || err == syscall.ENXIO {
		return nil // it is down, or the guest makes its address in another way
	}
	if err != nil {
		return err
	}
	address.addr = linkLocal(newMAC)
	return ioctl(fd, syscall.SIOCSIFADDR, unsafe.Pointer(&address))
}

// linkLocal returns the link-local IPv6 address with the modified EUI-64 of a MAC address
// (RFC 4291, appendix A).
func linkLocal(mac net.HardwareAddr) [16]byte {
	return [16]byte{0xfe, 0x80, 8: mac[0] ^ 2, 9: mac[1], 10: mac[2], 11: 0xff, 12: 0xfe, 13: mac[3], 14: mac[4], 15: mac[5]}
}

// setAddress replaces the IPv4 address, and sets the card up.
func (c *card) setAddress(text string) error {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return err
	}
	if !prefix.Addr().Is4() {
		return errors.New("it must be an IPv4 address")
	}
	address := prefix.Addr().As4()
	if err := c.setSockaddr(syscall.SIOCSIFADDR, address); err != nil {
		return err
	}
	if err := c.setSockaddr(syscall.SIOCSIFNETMASK, [4]byte(net.CIDRMask(prefix.Bits(), 32))); err != nil {
		return err
	}
	return c.setUp(true)
}

func (c *card) setSockaddr(number uintptr, address [4]byte) error {
	var r ifreq // with a struct sockaddr_in
	binary.NativeEndian.PutUint16(r.data[:], syscall.AF_INET)
	copy(r.data[4:], address[:])
	return c.ioctl(number, &r)
}

// writeResolvConf replaces /etc/resolv.conf, also where it is a link: programs
// must see the new content at once.
func writeResolvConf(nameserver, domain string) error {
	content := "nameserver " + nameserver + "\n"
	if domain != "" {
		content = "search " + domain + "\n" + content
	}
	const path = "/etc/resolv.conf"
	err := os.WriteFile(path+".new", []byte(content), 0o644)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("set the name server: %w", err)
	}
	return nil
}

// loopbackUp makes 127.0.0.1 reachable.
func loopbackUp() error {
	lo, err := openCard("lo")
	if err != nil {
		return err
	}
	defer lo.close()
	return lo.setUp(true)
}
