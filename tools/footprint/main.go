// Command footprint measures how much memory the services take: rng and geoip while
// they are idle, and the client over a long run under load. It prints Markdown, which
// docs/performance.md holds.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/evenkeel/evenkeel/internal/config"
	"github.com/evenkeel/evenkeel/internal/interrupt"
)

type cli struct {
	config.Common

	BinDir   string        `default:"bin" type:"existingdir" help:"Folder of the binaries rng, geoip and client."`
	Idle     time.Duration `default:"10s" help:"How long rng and geoip have been idle when they are looked at."`
	Duration time.Duration `default:"10m" help:"How long the client is under load."`
	Rate     int           `default:"2000" help:"Load in RPCs a second."`
	Every    time.Duration `default:"10s" help:"Time between two looks at the client, 1s or more."`
}

// Validate names the first setting that is out of range.
func (c *cli) Validate() error {
	if err := config.InRange("every", c.Every, time.Second, time.Hour); err != nil {
		return err
	}

	return config.InRange("rate", c.Rate, 1, 100_000)
}

func main() {
	var c cli
	config.MustParse(&c, config.Program{
		Name:        "footprint",
		Description: "Measures the memory of rng and geoip while idle, and of the client under load.",
	})
	ctx, stop := interrupt.Context(context.Background())
	defer stop()
	if err := c.measure(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "footprint: %v\n", err)
		os.Exit(1)
	}
}

// host is where the processes listen, each on ports that were free a moment ago.
const host = "127.0.0.1"

func (c *cli) measure(ctx context.Context) error {
	fmt.Fprintf(os.Stderr, "footprint: idle for %v\n", c.Idle)
	fmt.Printf("| idle for %v | resident memory |\n| --- | --- |\n", c.Idle)
	var rng *process
	for _, name := range []string{"rng", "geoip"} {
		p, err := c.start(name)
		if err != nil {
			return err
		}
		defer p.stop()
		if name == "rng" {
			rng = p
		}
		if err := sleep(ctx, c.Idle); err != nil {
			return err
		}
		m, err := p.read(ctx)
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %.1f MB |\n", name, m.residentMB)
	}
	client, err := c.start("client", "--rng-target=dns:///"+net.JoinHostPort(host, rng.port), "--rate="+strconv.Itoa(c.Rate))
	if err != nil {
		return err
	}
	defer client.stop()

	return c.watchClient(ctx, client)
}

// watchClient looks at the client until the duration is over and prints a chart.
func (c *cli) watchClient(ctx context.Context, client *process) error {
	began := time.Now()
	var resident, heap []float64
	var last metrics
	for time.Since(began) < c.Duration {
		if err := sleep(ctx, c.Every); err != nil {
			return err
		}
		m, err := client.read(ctx)
		if err != nil {
			return err
		}
		resident, heap, last = append(resident, m.residentMB), append(heap, m.heapMB), m
		fmt.Fprintf(os.Stderr, "footprint: %v of %v: client %.1f MB, %.0f RPCs\n",
			time.Since(began).Round(time.Second), c.Duration, m.residentMB, m.rpcs)
	}
	third := len(resident) / 3
	fmt.Printf("\nThe client at %d RPC/s for %v, %.0f RPCs: the median of its resident memory was %.1f MB in the first third "+
		"and %.1f MB in the last, of its live heap %.1f MB and %.1f MB.\n",
		c.Rate, c.Duration, last.rpcs, median(resident[:third+1]), median(resident[len(resident)-third-1:]),
		median(heap[:third+1]), median(heap[len(heap)-third-1:]))
	fmt.Printf("\n```mermaid\nxychart-beta\n    title \"client under %d RPC/s: resident memory\"\n"+
		"    x-axis \"minutes\" 0 --> %g\n    y-axis \"MB\" 0 --> %.0f\n    line %s\n```\n",
		c.Rate, c.Duration.Minutes(), slices.Max(resident)*1.5, list(resident))

	return nil
}

// process is one of the suite's programs, running.
type process struct {
	name, port, admin string
	cmd               *exec.Cmd
	ended             chan struct{}
}

// start starts a binary on free ports.
func (c *cli) start(name string, args ...string) (*process, error) {
	ports, err := freePorts()
	if err != nil {
		return nil, err
	}
	p := &process{name: name, port: ports[0], admin: ports[1], ended: make(chan struct{})}
	args = append(args, "--bind-address="+host, "--admin-port="+p.admin)
	if name != "client" {
		args = append(args, "--port="+p.port)
	}
	p.cmd = exec.Command(filepath.Join(c.BinDir, name), args...)
	p.cmd.Env = append(os.Environ(), "LOG_LEVEL=warn")
	p.cmd.Stderr = os.Stderr
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w (run `make build`)", name, err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // that it ended is what matters
	}()

	return p, nil
}

// freePorts finds two ports that nobody listens on.
func freePorts() (ports [2]string, err error) {
	for i := range ports {
		listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			return ports, err
		}
		defer func() { _ = listener.Close() }() // both are held until both are found
		if _, ports[i], err = net.SplitHostPort(listener.Addr().String()); err != nil {
			return ports, err
		}
	}

	return ports, nil
}

// stop ends the process and waits for it.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	<-p.ended
}

// metrics are what is read of a process.
type metrics struct{ residentMB, heapMB, rpcs float64 }

// read scrapes the process's /metrics.
func (p *process) read(ctx context.Context) (metrics, error) {
	select {
	case <-p.ended:
		return metrics{}, fmt.Errorf("%s ended: %v", p.name, p.cmd.ProcessState)
	default:
	}
	url := "http://" + net.JoinHostPort(host, p.admin) + "/metrics"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return metrics{}, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return metrics{}, fmt.Errorf("%s: %w", p.name, err)
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	var m metrics
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		sample, text, _ := strings.Cut(lines.Text(), " ")
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			continue // a comment
		}
		family, _, _ := strings.Cut(sample, "{")
		switch family {
		case "process_resident_memory_bytes":
			m.residentMB = value / 1e6
		case "go_memstats_heap_inuse_bytes":
			m.heapMB = value / 1e6
		case "evenkeel_client_rpcs_total":
			m.rpcs += value
		}
	}
	if m.residentMB == 0 {
		return metrics{}, errors.New("this system does not say how much memory a process takes: run it on Linux")
	}

	return m, lines.Err()
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))

	return sorted[len(sorted)/2]
}

// list writes values as Mermaid has them.
func list(values []float64) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = strconv.FormatFloat(v, 'f', 1, 64)
	}

	return "[" + strings.Join(texts, ", ") + "]"
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
