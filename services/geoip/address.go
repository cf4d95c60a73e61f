package main

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// maxQuoted is how much of a malformed address an error repeats, in bytes.
const maxQuoted = 64

// parseAddress reads an address as geoip.proto documents it: no zone, no port, no
// CIDR. An IPv4-mapped IPv6 address becomes the IPv4 address. The error says what
// was given and what to give instead.
func parseAddress(text string) (netip.Addr, error) {
	address, err := netip.ParseAddr(text)
	if err == nil && address.Zone() == "" {
		return address.Unmap(), nil
	}

	return netip.Addr{}, fmt.Errorf("%s %s: give an IPv4 or IPv6 address, such as 8.8.8.8 or 2001:4860:4860::8888",
		quote(text), fault(text, err == nil))
}

// fault says what is wrong with an address in words that fit the commonest slips.
func fault(text string, zone bool) string {
	if text == "" {
		return "is empty"
	}
	if zone {
		return "has a zone"
	}
	if _, err := netip.ParseAddrPort(text); err == nil {
		return "has a port"
	}
	if _, err := netip.ParsePrefix(text); err == nil {
		return "is a network"
	}
	if _, err := netip.ParseAddr(strings.TrimSpace(text)); err == nil {
		return "has spaces around it"
	}

	return "is not an IP address"
}

func quote(text string) string {
	if len(text) > maxQuoted {
		return strconv.Quote(text[:maxQuoted]) + "…"
	}

	return strconv.Quote(text)
}
