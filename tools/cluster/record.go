//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/tools/cluster/network"
	"github.com/evenkeel/evenkeel/tools/cluster/sandbox"
)

// record is what is written down about a cluster that runs: enough to find it again.
type record struct {
	Nodes     int      `json:"nodes"`
	ProxyMode string   `json:"proxyMode"`
	Members   []member `json:"members"`
}

// member is a sandbox. A number of a process comes around again; together with when the
// process started and which boot of the machine it was, it does not.
type member struct {
	Name    string `json:"name"`
	PID     int    `json:"pid"`
	Started string `json:"started"`
}

const recordFile = "cluster.json"

// record reads the record; nil when there is none.
func (c *cluster) record() (*record, error) {
	text, err := os.ReadFile(c.run(recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := &record{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s: %w", c.run(recordFile), err)
	}

	return r, nil
}

func (c *cluster) write(r *record) error { return replace(c.run(recordFile), r) }

// replace writes a file in one step, so that no kill leaves half of one.
func replace(path string, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}

	return os.Rename(path+".new", path)
}

// running is the record of a cluster all of whose sandboxes live.
func (c *cluster) running() (*record, error) {
	r, err := c.record()
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, errors.New("no cluster: start one with `cluster up`")
	}

	return r, r.whole()
}

// whole is nil when all the sandboxes live.
func (r *record) whole() error {
	for _, m := range r.Members {
		if !m.alive() {
			return fmt.Errorf("%s has ended: `cluster up` starts the cluster anew", m.Name)
		}
	}

	return nil
}

// node is the sandbox of node k, which counts from 1; 0 is the control plane.
func (r *record) node(k int) (member, error) {
	if k < 0 || k > r.Nodes {
		return member{}, fmt.Errorf("--node: %d, but there are 1 to %d, and 0 for the control plane", k, r.Nodes)
	}

	return r.Members[k], nil
}

// nodeNamed is the number of a node.
func (r *record) nodeNamed(name string) (int, error) {
	var known []string
	for k := 1; k <= r.Nodes; k++ {
		if r.Members[k].Name == name {
			return k, nil
		}
		known = append(known, r.Members[k].Name)
	}

	return 0, fmt.Errorf("node %q: not one of %s", name, strings.Join(known, ", "))
}

// startOf says when a process started, in a form that is good for comparing.
func startOf(pid int) (string, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", err
	}
	ticks, err := startTicks(string(stat))

	return strings.TrimSpace(string(boot)) + "+" + ticks, err
}

// startTicks is field 22 of /proc/PID/stat. Field 2 is the name of the program in
// parentheses, and may have anything in it, also spaces and parentheses.
func startTicks(stat string) (string, error) {
	rest, ok := afterLast(stat, ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return "", fmt.Errorf("/proc/PID/stat: not understood: %q", stat)
	}

	return fields[19], nil
}

// afterLast is what comes after the last separator.
func afterLast(s, sep string) (string, bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return "", false
	}

	return s[i+len(sep):], true
}

// open takes hold of the sandbox' process, so that what is done next is done to no other.
// It is nil when the process has ended.
func (m member) open() *os.File {
	fd, err := unix.PidfdOpen(m.PID, 0)
	if err != nil {
		return nil
	}
	file := os.NewFile(uintptr(fd), "pidfd")
	started, err := startOf(m.PID)
	if err != nil || started != m.Started || ended(file, 0) {
		_ = file.Close()

		return nil
	}

	return file
}

func (m member) alive() bool {
	file := m.open()
	if file == nil {
		return false
	}
	_ = file.Close()

	return true
}

// ended waits until a process has ended, and says whether it has.
func ended(pidfd *os.File, patience time.Duration) bool {
	deadline := time.Now().Add(patience)
	for {
		poll := []unix.PollFd{{Fd: int32(pidfd.Fd()), Events: unix.POLLIN}}
		n, err := unix.Poll(poll, int(max(0, time.Until(deadline).Milliseconds())))
		if errors.Is(err, unix.EINTR) {
			continue
		}

		return err == nil && n > 0
	}
}

// kill ends a sandbox and all that is in it, and waits until the kernel has done so.
func (m member) kill() error {
	process := m.open()
	if process == nil {
		return nil
	}
	defer func() { _ = process.Close() }()
	if err := unix.PidfdSendSignal(int(process.Fd()), unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill %s: %w", m.Name, err)
	}
	if !ended(process, 30*time.Second) {
		return fmt.Errorf("%s (process %d) was killed 30 s ago and has not ended", m.Name, m.PID)
	}

	return nil
}

func (m member) dialer() network.Dialer { return network.Dialer{Pid: m.PID} }

// ask sends a request to the sandbox' process 1. into, unless nil, is filled with the answer.
func (m member) ask(ctx context.Context, method, path string, query url.Values, into any) error {
	transport := &http.Transport{DialContext: m.dialer().DialContext, DisableKeepAlives: true}
	target := url.URL{
		Scheme: "http", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(sandbox.Port)),
		Path: path, RawQuery: query.Encode(),
	}
	request, err := http.NewRequestWithContext(ctx, method, target.String(), nil)
	if err != nil {
		return err
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return fmt.Errorf("%s: %w", m.Name, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("%s: %w", m.Name, err)
	}
	if response.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(text)))
	}
	if into == nil {
		return nil
	}

	return json.Unmarshal(text, into)
}

// listening waits until the sandbox answers.
func (m member) listening(ctx context.Context) error {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := m.ask(ctx, http.MethodGet, "/status", nil, nil)
		if err == nil {
			return nil
		}
		if !m.alive() {
			return fmt.Errorf("%s ended as it started", m.Name)
		}
		select {
		case <-ctx.Done():
			return err
		case <-ticker.C:
		}
	}
}
