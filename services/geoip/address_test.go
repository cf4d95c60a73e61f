package main

import (
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAddressesAreReadAsDocumented(t *testing.T) {
	for text, want := range map[string]string{
		"8.8.8.8":                       "8.8.8.8",
		"0.0.0.0":                       "0.0.0.0",
		"2001:4860:4860:0:0:0:0:8888":   "2001:4860:4860::8888",
		"2001:4860:4860::8888":          "2001:4860:4860::8888",
		"2001:DB8::A":                   "2001:db8::a",
		"::":                            "::",
		"::ffff:8.8.8.8":                "8.8.8.8",
		"::ffff:808:808":                "8.8.8.8",
		"0:0:0:0:0:ffff:8.8.8.8":        "8.8.8.8",
		"64:ff9b::8.8.8.8":              "64:ff9b::808:808",
		"0000:0000::0001":               "::1",
		"1:2:3:4:5:6:7:8":               "1:2:3:4:5:6:7:8",
		"1:0:0:2:0:0:0:3":               "1:0:0:2::3",
		"fe80::1":                       "fe80::1",
		"255.255.255.255":               "255.255.255.255",
		"2001:db8:0:0:0:0:192.0.2.128":  "2001:db8::c000:280",
		"ffff:ffff:ffff:ffff:ffff::255": "ffff:ffff:ffff:ffff:ffff::255",
	} {
		got, err := parseAddress(text)
		if err != nil || got.String() != want {
			t.Errorf("%s: %v, %v, want %s", text, got, err, want)
		}
	}
}

func TestAMalformedAddressIsToldWhatIsWrongWithIt(t *testing.T) {
	for text, want := range map[string]string{
		"":                        `"" is empty`,
		"fe80::1%eth0":            `"fe80::1%eth0" has a zone`,
		"::ffff:8.8.8.8%1":        `"::ffff:8.8.8.8%1" has a zone`,
		"8.8.8.8:53":              `"8.8.8.8:53" has a port`,
		"[2001:db8::1]:443":       `"[2001:db8::1]:443" has a port`,
		"8.8.8.0/24":              `"8.8.8.0/24" is a network`,
		"2001:db8::/32":           `"2001:db8::/32" is a network`,
		" 8.8.8.8\n":              `" 8.8.8.8\n" has spaces around it`,
		"[2001:db8::1]":           `"[2001:db8::1]" is not an IP address`,
		"8.8.8":                   `"8.8.8" is not an IP address`,
		"8.8.8.08":                `"8.8.8.08" is not an IP address`,
		"256.0.0.1":               `"256.0.0.1" is not an IP address`,
		"134744072":               `"134744072" is not an IP address`,
		"0x8.8.8.8":               `"0x8.8.8.8" is not an IP address`,
		"1:2:3:4:5:6:7:8:9":       `"1:2:3:4:5:6:7:8:9" is not an IP address`,
		"localhost":               `"localhost" is not an IP address`,
		"8.8.8.8 8.8.4.4":         `"8.8.8.8 8.8.4.4" is not an IP address`,
		"\uff18.8.8.8":            `is not an IP address`,
		"\x00":                    `"\x00" is not an IP address`,
		strings.Repeat("1", 1000): `"` + strings.Repeat("1", 64) + `"… is not an IP address`,
	} {
		_, err := parseAddress(text)
		if err == nil || !strings.Contains(err.Error(), want+": give an IPv4 or IPv6 address") {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func FuzzAddress(f *testing.F) {
	for _, seed := range []string{
		"", "8.8.8.8", "::1", "::ffff:1.2.3.4", "fe80::1%eth0", "[::1]:80", "10.0.0.0/8", "1.2.3.4:5", " ::", "٣.1.1.1", "\xff",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		address, err := parseAddress(text)
		if err != nil {
			if address.IsValid() {
				t.Errorf("%q: %v and an error", text, address)
			}
			if message := err.Error(); strings.ContainsAny(message, "\n\r") || !utf8.ValidString(message) || len(message) > 600 {
				t.Errorf("%q: error %q", text, message)
			}

			return
		}
		if address.Zone() != "" || address.Is4In6() {
			t.Errorf("%q: %v", text, address)
		}
		if again, err := netip.ParseAddr(address.String()); err != nil || again != address {
			t.Errorf("%q: %v does not survive its own form: %v, %v", text, address, again, err)
		}
	})
}
