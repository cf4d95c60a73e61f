//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"time"
)

type downCommand struct{}

func (downCommand) Run(c *cluster) error {
	if os.Geteuid() != 0 {
		return errors.New(`root is needed, to end what root started: sudo cluster down`)
	}
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()

	return c.teardown()
}

// teardown ends the cluster, or whatever there is of one, and leaves nothing of it. It can
// be cut short and done again.
func (c *cluster) teardown() error {
	r, err := c.record()
	if err != nil {
		return err
	}
	if err := c.thawAll(); err != nil {
		return err
	}
	if r != nil {
		for _, m := range r.Members {
			if err := m.kill(); err != nil {
				return err
			}
		}
	}
	c.endKeepers()
	if err := c.removeCgroups(10 * time.Second); err != nil {
		return fmt.Errorf("remove cgroups: %w", err)
	}

	// The mounts in it were the sandboxes' own and have gone with them.
	return os.RemoveAll(c.run())
}
