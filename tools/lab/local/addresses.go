package local

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
)

// The addresses of a run. A run has a block 127.B.0.0/16 of its own, so that two labs
// do not meet; in it each overlay has 127.B.N.0/24, N from 1:
//
//	127.B.0.1        the API server
//	127.B.N.2        DNS for the pods of the overlay
//	127.B.N.10..     its ClusterIPs
//	127.B.N.50..     its pods
const (
	firstBlock, lastBlock = 32, 63
	apiServerPort         = 6443
	dnsPort               = 5353
	firstClusterIP        = 10
	maxClusterIPs         = 30
	firstPodIP            = 50
	maxPodIPs             = 60
	maxOverlays           = 32
)

// MaxPods is how many pods an overlay can have at once: those of all its services, and those that are still ending.
const MaxPods = maxPodIPs

// block is the second byte of every address of a run.
type block byte

func (b block) apiServer() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, byte(b), 0, 1}), apiServerPort)
}

func (b block) dns(overlay int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, byte(b), byte(overlay), 2}), dnsPort)
}

func (b block) clusterIP(overlay, n int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(b), byte(overlay), byte(firstClusterIP + n)})
}

func (b block) pod(overlay, n int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(b), byte(overlay), byte(firstPodIP + n)})
}

// claimBlock takes the first block that no other lab uses. Its API server's listener
// is the claim.
func claimBlock() (block, net.Listener, error) {
	var last error
	for b := block(firstBlock); b <= lastBlock; b++ {
		listener, err := net.Listen("tcp4", b.apiServer().String())
		switch {
		case err == nil:
			return b, listener, nil
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			return 0, nil, missing(b)
		}
		last = err
	}

	return 0, nil, fmt.Errorf("no free block of addresses from 127.%d.0.0/16 to 127.%d.0.0/16: %w", firstBlock, lastBlock, last)
}

// checkAddresses makes sure that the system has the addresses of so many overlays.
func checkAddresses(b block, overlays int) error {
	for n := 1; n <= overlays; n++ {
		listener, err := net.Listen("tcp4", netip.AddrPortFrom(b.pod(n, maxPodIPs-1), 0).String())
		if errors.Is(err, syscall.EADDRNOTAVAIL) {
			return missing(b)
		}
		if err != nil {
			return fmt.Errorf("addresses for the pods: %w", err)
		}
		if err := listener.Close(); err != nil {
			return err
		}
	}

	return nil
}

// missing is the error for a system, such as macOS, that has only 127.0.0.1 of
// 127.0.0.0/8 until it is told otherwise. It says how to tell it.
func missing(b block) error {
	if runtime.GOOS == "linux" {
		return fmt.Errorf("this system lacks %v: the loopback interface must have 127.0.0.0/8, as Linux sets it up", b.pod(1, 0))
	}

	return fmt.Errorf("this system has only 127.0.0.1, and each pod needs an address of its own. "+
		"Add them, until the next restart, with: "+
		"sudo sh -c 'ifconfig lo0 alias 127.%d.0.1; for n in $(seq 1 8); do for i in 2 $(seq %d %d) $(seq %d %d); "+
		"do ifconfig lo0 alias 127.%d.$n.$i; done; done'",
		b, firstClusterIP, firstClusterIP+3, firstPodIP, firstPodIP+maxPodIPs-1, b)
}

// podAddresses hands out the addresses of one overlay's pods, the one that has been
// free longest first: an address that comes back at once would hide how a client
// treats a pod that is gone.
type podAddresses struct {
	mu   sync.Mutex
	free []netip.Addr
}

func newPodAddresses(b block, overlay int) *podAddresses {
	p := &podAddresses{}
	for n := range maxPodIPs {
		p.free = append(p.free, b.pod(overlay, n))
	}

	return p
}

func (p *podAddresses) take() (netip.Addr, func(), error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) == 0 {
		return netip.Addr{}, nil, fmt.Errorf("all %d addresses for pods are in use", maxPodIPs)
	}
	addr := p.free[0]
	p.free = p.free[1:]
	var once sync.Once

	return addr, func() {
		once.Do(func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.free = append(p.free, addr)
		})
	}, nil
}
