package check

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"go.yaml.in/yaml/v3"
)

// Prometheus is one that runs.
type Prometheus struct {
	url     string
	process *exec.Cmd
	done    chan error
	log     *bytes.Buffer
}

// Start starts Prometheus on a configuration file, with its data in a folder. The configuration is changed before: rules
// are looked for beside the file still, and each scrape job is what change makes of it.
func Start(ctx context.Context, program, file, folder string, change func(job map[string]any)) (*Prometheus, error) {
	config, err := rewrite(file, change)
	if err != nil {
		return nil, err
	}
	changed := filepath.Join(folder, "prometheus.yml")
	if err := os.WriteFile(changed, config, 0o600); err != nil {
		return nil, err
	}
	address, err := free(ctx)
	if err != nil {
		return nil, err
	}
	p := &Prometheus{url: "http://" + address, done: make(chan error, 1), log: &bytes.Buffer{}}
	p.process = exec.Command(program, "--config.file="+changed, "--storage.tsdb.path="+filepath.Join(folder, "data"),
		"--web.listen-address="+address, "--enable-feature=exemplar-storage")
	p.process.Stdout, p.process.Stderr = p.log, p.log
	if err := p.process.Start(); err != nil {
		return nil, fmt.Errorf("prometheus: %w (`make test-rules` builds it)", err)
	}
	go func() { p.done <- p.process.Wait() }()
	for {
		_, err := p.get(ctx, "/api/v1/status/config", nil)
		if err == nil {
			return p, nil
		}
		select {
		case ended := <-p.done:
			return nil, fmt.Errorf("prometheus has ended: %w\n%s", ended, p.log)
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err, p.Stop())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Stop ends it.
func (p *Prometheus) Stop() error {
	if err := p.process.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}

	return <-p.done
}

func rewrite(file string, change func(job map[string]any)) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var config map[string]any
	if err := yaml.Unmarshal(text, &config); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	folder, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	rules, _ := config["rule_files"].([]any)
	for i, pattern := range rules {
		rules[i] = filepath.Join(folder, fmt.Sprint(pattern))
	}
	jobs, _ := config["scrape_configs"].([]any)
	if len(rules) == 0 || len(jobs) == 0 {
		return nil, fmt.Errorf("%s: there are no rule_files or no scrape_configs", file)
	}
	for _, job := range jobs {
		if job, ok := job.(map[string]any); ok {
			change(job)
		}
	}

	return yaml.Marshal(config)
}

// free is an address that nobody listens on.
func free(ctx context.Context) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}

	return listener.Addr().String(), listener.Close()
}

func (p *Prometheus) get(ctx context.Context, path string, values url.Values) (json.RawMessage, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path+"?"+values.Encode(), nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", path, response.Status, err)
	}
	if answer.Status != "success" {
		return nil, errors.New(answer.Error)
	}

	return answer.Data, nil
}

// Series is one of an answer, with its values by time.
type Series struct {
	Metric map[string]string
	Values []Value
}

// Value is what a series was at a time.
type Value struct {
	At    time.Time
	Value float64
}

// UnmarshalJSON reads a pair of a time in seconds and a number in a string.
func (v *Value) UnmarshalJSON(text []byte) error {
	var pair [2]json.RawMessage
	var seconds float64
	var number string
	if err := errors.Join(json.Unmarshal(text, &pair), json.Unmarshal(pair[0], &seconds), json.Unmarshal(pair[1], &number)); err != nil {
		return err
	}
	value, err := strconv.ParseFloat(number, 64)
	v.At, v.Value = time.UnixMilli(int64(math.Round(seconds*1000))), value

	return err
}

// Range is what a query was from one time to another, step by step.
func (p *Prometheus) Range(ctx context.Context, query string, from, to time.Time, step time.Duration) ([]Series, error) {
	data, err := p.get(ctx, "/api/v1/query_range", url.Values{
		"query": {query}, "step": {fmt.Sprint(step.Seconds())},
		"start": {from.UTC().Format(time.RFC3339Nano)}, "end": {to.UTC().Format(time.RFC3339Nano)},
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", query, err)
	}
	var answer struct{ Result []Series }

	return answer.Result, json.Unmarshal(data, &answer)
}

// Up is how many targets there are, and an error if one of them, or a rule, is not well.
func (p *Prometheus) Up(ctx context.Context) (int, error) {
	data, err := p.get(ctx, "/api/v1/targets", url.Values{"state": {"active"}})
	if err != nil {
		return 0, err
	}
	var targets struct {
		ActiveTargets []struct{ Health, ScrapeURL, LastError string }
	}
	if err := json.Unmarshal(data, &targets); err != nil {
		return 0, err
	}
	var errs []error
	for _, target := range targets.ActiveTargets {
		if target.Health != "up" {
			errs = append(errs, fmt.Errorf("%s is %s: %s", target.ScrapeURL, target.Health, target.LastError))
		}
	}
	if data, err = p.get(ctx, "/api/v1/rules", nil); err != nil {
		return 0, err
	}
	var rules struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	if err := json.Unmarshal(data, &rules); err != nil {
		return 0, err
	}
	if len(rules.Groups) == 0 {
		errs = append(errs, errors.New("no rules are loaded"))
	}
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			if rule.Health != "ok" {
				errs = append(errs, fmt.Errorf("rule %s is %s: %s", rule.Name, rule.Health, rule.LastError))
			}
		}
	}

	return len(targets.ActiveTargets), errors.Join(errs...)
}
