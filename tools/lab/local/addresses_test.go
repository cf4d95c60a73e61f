package local

import (
	"strings"
	"testing"
)

func TestAnAddressThatWasGivenBackIsTheLastToBeUsedAgain(t *testing.T) {
	p := newPodAddresses(firstBlock, 1)
	first, giveBack, err := p.take()
	if err != nil {
		t.Fatal(err)
	}
	giveBack()
	giveBack() // twice does no harm
	for range maxPodIPs - 1 {
		if addr, _, err := p.take(); err != nil || addr == first {
			t.Fatalf("%v, %v", addr, err)
		}
	}
	if last, _, err := p.take(); err != nil || last != first {
		t.Errorf("last %v, %v, want %v", last, err, first)
	}
	if _, _, err := p.take(); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("one too many: %v", err)
	}
}

func TestTwoLabsHaveBlocksOfTheirOwn(t *testing.T) {
	one, first, err := claimBlock()
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	two, second, err := claimBlock()
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if one == two {
		t.Errorf("both have 127.%d.0.0/16", one)
	}
	if err := checkAddresses(one, maxOverlays); err != nil {
		t.Error(err)
	}
}

func TestTheAddressesOfARunAreApart(t *testing.T) {
	used := map[string]bool{}
	b := block(firstBlock)
	add := func(address string) {
		if used[address] || !strings.HasPrefix(address, "127.32.") {
			t.Errorf("%s is used twice or outside the block", address)
		}
		used[address] = true
	}
	add(b.apiServer().Addr().String())
	for n := 1; n <= maxOverlays; n++ {
		add(b.dns(n).Addr().String())
		for i := range maxClusterIPs {
			add(b.clusterIP(n, i).String())
		}
		for i := range maxPodIPs {
			add(b.pod(n, i).String())
		}
	}
}
