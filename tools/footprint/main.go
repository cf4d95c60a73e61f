// Command footprint measures how much memory the services take: rng and geoip while
// they are idle, and the client over a long run under load. It prints Markdown, which
// docs/performance.md holds.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/evenkeel/evenkeel/internal/config"
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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := c.measure(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "footprint: %v\n", err)
		os.Exit(1)
	}
}

// Where the processes listen. Only this command uses these ports.
const (
	host       = "127.0.0.1"
	rngPort    = "18081"
	rngAdmin   = "18082"
	geoipPort  = "18083"
	geoipAdmin = "18084"
	clientPort = "18085"
)

func (c *cli) measure(ctx context.Context) error {
	stopRng, err := c.start("rng", "--bind-address="+host, "--port="+rngPort, "--admin-port="+rngAdmin)
	if err != nil {
		return err
	}
	defer stopRng()
	stopGeoip, err := c.start("geoip", "--bind-address="+host, "--port="+geoipPort, "--admin-port="+geoipAdmin)
	if err != nil {
		return err
	}
	defer stopGeoip()

	fmt.Fprintf(os.Stderr, "footprint: idle for %v\n", c.Idle)
	if err := sleep(ctx, c.Idle); err != nil {
		return err
	}
	fmt.Printf("| idle for %v | resident memory |\n| --- | --- |\n", c.Idle)
	for _, service := range []struct{ name, admin string }{{"rng", rngAdmin}, {"geoip", geoipAdmin}} {
		m, err := read(ctx, service.admin)
		if err != nil {
			return fmt.Errorf("%s: %w", service.name, err)
		}
		fmt.Printf("| %s | %.1f MB |\n", service.name, m.residentMB)
	}

	stopClient, err := c.start("client", "run", "--bind-address="+host, "--admin-port="+clientPort,
		"--rng-target=dns:///"+host+":"+rngPort, "--rate="+strconv.Itoa(c.Rate))
	if err != nil {
		return err
	}
	defer stopClient()

	return c.watchClient(ctx)
}

// watchClient looks at the client until the duration is over and prints a chart.
func (c *cli) watchClient(ctx context.Context) error {
	began := time.Now()
	var resident, heap []float64
	var last metrics
	for time.Since(began) < c.Duration {
		if err := sleep(ctx, c.Every); err != nil {
			return err
		}
		m, err := read(ctx, clientPort)
		if err != nil {
			return fmt.Errorf("client: %w", err)
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

// start starts a binary, and returns what ends it and waits for it.
func (c *cli) start(name string, args ...string) (stop func(), err error) {
	cmd := exec.Command(filepath.Join(c.BinDir, name), args...)
	cmd.Env = append(os.Environ(), "LOG_LEVEL=warn")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w (run `make build`)", name, err)
	}

	return func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		_ = cmd.Wait()
	}, nil
}

// metrics are what is read of a process.
type metrics struct{ residentMB, heapMB, rpcs float64 }

// read scrapes a process's /metrics.
func read(ctx context.Context, port string) (metrics, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+":"+port+"/metrics", nil)
	if err != nil {
		return metrics{}, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return metrics{}, err
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
