package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"text/tabwriter"

	"google.golang.org/grpc"

	"github.com/evenkeel/evenkeel/internal/config"
	"github.com/evenkeel/evenkeel/internal/interrupt"
	rngv1 "github.com/evenkeel/evenkeel/proto/rng/v1"
	"github.com/evenkeel/evenkeel/services/client/channel"
)

// spreadCommand opens connections to rng and says on which pods they end.
//
// It is for targets behind which something else chooses, such as a ClusterIP: with pick_first a channel is a connection,
// and a connection is a pod for as long as it lasts.
type spreadCommand struct {
	Connections []int `default:"1,2,5,10,20,50" help:"How many channels are open at once, 1 to 1000, one line of the table each."`
	Trials      int   `default:"100" help:"How often they are opened, 1 to 10000."`
	JSON        bool  `help:"Print JSON." env:"-"`
}

// Validate names the first flag that cannot be used. kong calls it.
func (s *spreadCommand) Validate() error {
	for _, n := range s.Connections {
		if err := config.InRange("connections", n, 1, 1000); err != nil {
			return err
		}
	}

	return config.InRange("trials", s.Trials, 1, 10_000)
}

// spread is how a number of connections ended on the pods, over all trials.
type spread struct {
	Connections int `json:"connections"`
	// MaxMean is how many of them the fullest pod had, over what each would have if all had as many: the mean of
	// the trials, and the worst.
	MaxMean      float64 `json:"maxMean"`
	MaxMeanWorst float64 `json:"maxMeanWorst"`
	// Idle is the share of pods that had none.
	Idle float64 `json:"idle"`
	// The same if each connection goes to any of the pods with the same chance, from a simulation.
	MaxMeanByChance float64 `json:"maxMeanByChance"`
	IdleByChance    float64 `json:"idleByChance"`
}

// Run prints a table. kong calls it.
func (s *spreadCommand) Run(strategies *Strategies) error {
	if err := strategies.apply(); err != nil {
		return err
	}
	ctx, stop := interrupt.Context(context.Background())
	defer stop()
	pods, spreads, err := s.measure(ctx, os.Stderr, strategies.open)
	if err != nil {
		return err
	}

	return s.print(os.Stdout, pods, spreads)
}

// open opens a channel, has it connect by one RPC, and returns who served that.
func (s *Strategies) open() (pod string, end func() error, err error) {
	conn, err := channel.New(s.rng(), s.keepalive().DialOption())
	if err != nil {
		return "", nil, err
	}
	who, err := once(s.Timeout, func(ctx context.Context, options ...grpc.CallOption) error {
		_, err := rngv1.NewRngServiceClient(conn).Roll(ctx, &rngv1.RollRequest{Count: 1}, options...)

		return err
	})
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("roll: %w", err), conn.Close())
	}

	return who.ServedBy, conn.Close, nil
}

// opener opens a connection, and returns the pod that it ended on and what closes it.
type opener func() (pod string, end func() error, err error)

// measure goes through all trials. Pods are those that had a connection in any of them.
func (s *spreadCommand) measure(ctx context.Context, progress io.Writer, open opener) (pods int, spreads []spread, err error) {
	seen := map[string]bool{}
	trials := make([][][]int, len(s.Connections))
	for i, n := range s.Connections {
		_, _ = fmt.Fprintf(progress, "client: %d connections, %d times\n", n, s.Trials) // nobody depends on it
		for range s.Trials {
			byPod, err := trial(ctx, n, open)
			if err != nil {
				return 0, nil, err
			}
			for pod := range byPod {
				seen[pod] = true
			}
			trials[i] = append(trials[i], slices.Collect(maps.Values(byPod)))
		}
	}
	for i, n := range s.Connections {
		of := spread{Connections: n}
		of.MaxMean, of.MaxMeanWorst, of.Idle = summary(n, len(seen), trials[i])
		of.MaxMeanByChance, _, of.IdleByChance = summary(n, len(seen), chance(n, len(seen)))
		spreads = append(spreads, of)
	}

	return len(seen), spreads, nil
}

// atOnce is how many connections of a trial are opened at a time.
const atOnce = 10

// trial opens n connections, counts them by pod, and closes them.
func trial(ctx context.Context, n int, open opener) (map[string]int, error) {
	var (
		mu    sync.Mutex
		byPod = map[string]int{}
		ends  []func() error
		errs  []error
		tasks sync.WaitGroup
		slots = make(chan struct{}, atOnce)
	)
	for range n {
		slots <- struct{}{}
		tasks.Go(func() {
			defer func() { <-slots }()
			if ctx.Err() != nil {
				return
			}
			pod, end, err := open()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)

				return
			}
			byPod[pod]++
			ends = append(ends, end)
		})
	}
	tasks.Wait()
	for _, end := range ends {
		errs = append(errs, end())
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if len(errs) > 0 && len(ends) < n {
		return nil, errs[0] // the others say the same
	}

	return byPod, errors.Join(errs...)
}

// summary is how uneven trials of n connections to so many pods were. A trial is what each pod had that had any.
func summary(n, pods int, trials [][]int) (maxMean, worst, idle float64) {
	fullest, sum, none := 0, 0, 0
	for _, byPod := range trials {
		most := slices.Max(byPod)
		fullest = max(fullest, most)
		sum += most
		none += pods - len(byPod)
	}
	mean := float64(n) / float64(pods)

	return float64(sum) / float64(len(trials)) / mean, float64(fullest) / mean, float64(none) / float64(pods*len(trials))
}

// chance are trials in which a die decides. It is always the same die.
func chance(n, pods int) [][]int {
	const trials = 10_000
	die := rand.New(rand.NewPCG(1, 2))
	all := make([][]int, trials)
	for i := range all {
		byPod := map[int]int{}
		for range n {
			byPod[die.IntN(pods)]++
		}
		all[i] = slices.Collect(maps.Values(byPod))
	}

	return all
}

func (s *spreadCommand) print(w io.Writer, pods int, spreads []spread) error {
	if s.JSON {
		return json.NewEncoder(w).Encode(struct {
			Pods    int      `json:"pods"`
			Trials  int      `json:"trials"`
			Spreads []spread `json:"spreads"`
		}{pods, s.Trials, spreads})
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, err := fmt.Fprintf(table, "connections\tmax/mean\tworst\tpods idle\tby chance\tpods idle\t\n")
	for _, of := range spreads {
		_, line := fmt.Fprintf(table, "%d\t%.2f\t%.2f\t%.0f %%\t%.2f\t%.0f %%\t\n",
			of.Connections, of.MaxMean, of.MaxMeanWorst, 100*of.Idle, of.MaxMeanByChance, 100*of.IdleByChance)
		err = errors.Join(err, line)
	}
	_, end := fmt.Fprintf(table, "\n")
	err = errors.Join(err, end, table.Flush())
	_, line := fmt.Fprintf(w, "pods: %d; max/mean: connections of the fullest pod over the mean, the mean of %d trials and the worst\n", pods, s.Trials)

	return errors.Join(err, line)
}
