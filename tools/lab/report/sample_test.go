package report

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/tools/lab/results"
)

// The sample is a toy model of the day scenario: pods with lives and clients
// that know some of them. It claims nothing about any strategy; it gives the
// report every shape that it has to draw.

const (
	sampleRate = 200 // RPCs a second
	sampleBin  = 250 * time.Millisecond
)

var sampleStart = time.Date(2026, 11, 21, 22, 50, 0, 0, time.UTC)

// life is a pod's, in seconds of the scenario; 0 for what did not happen.
type life struct {
	name                  string
	ready, unready, ended float64
	reason                string
}

func (l *life) readyAt(t float64) bool { return l.ready <= t && (l.unready == 0 || t < l.unready) }

// readyAt are the pods that are ready at t.
func readyAt(lives []life, t float64) (pods []int) {
	for i := range lives {
		if lives[i].readyAt(t) {
			pods = append(pods, i)
		}
	}
	return pods
}

// serves includes the first moments of a drain, before GOAWAY.
func (l *life) serves(t float64) bool {
	return l.ready <= t && (l.ended == 0 || t < l.ended) && (l.unready == 0 || t < l.unready+0.5)
}

// model is how a client of an overlay finds its pods.
type model struct {
	overlay, target, policy string
	one                     bool    // a single connection to a random pod
	watch                   float64 // knows what is ready, this late
	hash                    bool    // a key goes to one pod of those it knows
	every                   float64 // hangs up this often, in seconds
	resolved                float64 // last resolved this long into the run, and not again for 30 s
	dns, api, events        int64   // cost in a phase
}

func sampleModels() []model {
	return []model{
		{overlay: "clusterip", target: "dns:///rng:8081", policy: "pick_first", one: true, dns: 1},
		{overlay: "clusterip-max-connection-age", target: "dns:///rng:8081", policy: "pick_first", one: true, every: 10, dns: 2},
		{overlay: "dns-round-robin", target: "dns:///rng-headless:8081", policy: "round_robin", resolved: 19, dns: 2},
		{overlay: "dns-round-robin-max-connection-age", target: "dns:///rng-headless:8081", policy: "round_robin", every: 10, dns: 4},
		{overlay: "api-watch", target: "kubernetes:///rng-headless:grpc", policy: "round_robin", watch: 0.12, api: 1, events: 9},
		{overlay: "dns-srv", target: "srv:///rng-headless:grpc", policy: "round_robin", watch: 1.5, dns: 5},
		{overlay: "endpointslice", target: "endpointslice:///rng-headless:grpc", policy: "round_robin", watch: 0.06, api: 1, events: 6},
		{overlay: "consistent-hash", target: "endpointslice:///rng-headless:grpc", policy: "consistent_hash", watch: 0.06, hash: true, api: 1, events: 6},
	}
}

func samplePhases() []results.ScenarioPhase {
	phases := []results.ScenarioPhase{
		{Name: "steady", Seconds: 6, Graceful: true},
		{Name: "scale up", Action: "scale to 6", Seconds: 26, Graceful: true},
		{Name: "rolling update", Action: "restart all pods", Seconds: 15, Graceful: true},
		{Name: "kill", Action: "SIGKILL 1 pod", Seconds: 6},
		{Name: "scale to zero", Action: "scale to 0", Seconds: 4},
		{Name: "scale back", Action: "scale to 3", Seconds: 8},
		{Name: "scale down", Action: "scale to 2", Seconds: 7, Graceful: true},
	}
	at := sampleStart
	for i := range phases {
		phases[i].StartedAt = at
		at = at.Add(seconds(phases[i].Seconds))
	}
	return phases
}

// sampleLives is what the day does to a Deployment; factor multiplies its pods.
func sampleLives(service string, r *rand.Rand, factor int) []life {
	pod := func(set string, ready float64) life {
		suffix := make([]byte, 5)
		for i := range suffix {
			suffix[i] = "bcdfghjklmnpqrstvwxz2456789"[r.IntN(27)]
		}
		return life{name: fmt.Sprintf("%s-%s-%s", service, set, suffix), ready: ready}
	}
	drain := func(l *life, at float64) {
		l.unready, l.ended, l.reason = at, at+1.4+0.4*r.Float64(), "drained"
	}
	const before, after = "7d9fc4b8d", "5bf87f5f59"
	var old, young []life
	for i := range 6 * factor {
		ready := -2 + 0.1*r.Float64()
		if i >= 3*factor {
			ready = 6.7 + 0.5*r.Float64()
		}
		old = append(old, pod(before, ready))
	}
	for i := range old {
		ready := 33.1 + (12.4*float64(i)+r.Float64())/float64(len(old))
		young = append(young, pod(after, ready))
		drain(&old[i], ready+0.08)
	}
	victim := &young[len(young)/2]
	victim.ended, victim.unready, victim.reason = 47.02, 47.35, "killed"
	young = append(young, pod(after, 48.4))
	for i := range young {
		if young[i].ended == 0 {
			drain(&young[i], 53.05+0.1*r.Float64())
		}
	}
	for range 3 * factor {
		young = append(young, pod(after, 57.8+0.4*r.Float64()))
	}
	for i := range factor {
		drain(&young[len(young)-1-i], 65.05+0.1*r.Float64())
	}
	lives := slices.Concat(old, young)
	slices.SortFunc(lives, func(a, b life) int { return cmp.Compare(a.ready, b.ready) })
	return lives
}

// simulation is one client under the day.
type simulation struct {
	model
	r      *rand.Rand
	lives  []life
	known  []int
	next   int
	hangUp float64
}

// send returns the pod that answers an RPC with that key at t, or -1.
func (s *simulation) send(t float64, key int) int {
	ready := func(at float64) []int { return readyAt(s.lives, at) }
	broken := slices.ContainsFunc(s.known, func(i int) bool { return !s.lives[i].serves(t) })
	if s.every > 0 && t >= s.hangUp {
		broken, s.hangUp = true, t+s.every*(0.9+0.2*s.r.Float64())
	}
	switch {
	case s.watch > 0:
		s.known = ready(t - s.watch)
	case s.one && (broken || len(s.known) == 0):
		if pods := ready(t); len(pods) > 0 {
			s.known = []int{pods[s.r.IntN(len(pods))]}
		}
	case !s.one && broken && t-s.resolved >= 30, !s.one && len(s.known) == 0:
		s.known, s.resolved = ready(t), max(t, s.resolved)
	}
	if s.hash {
		return s.home(t, key)
	}
	for range s.known {
		s.next++
		if pod := s.known[s.next%len(s.known)]; s.lives[pod].serves(t) {
			return pod
		}
	}
	return -1
}

// home is the key's pod by rendezvous hashing, or -1.
func (s *simulation) home(t float64, key int) int {
	best, most := -1, uint64(0)
	for _, i := range s.known {
		score := rand.NewPCG(uint64(key), uint64(i)).Uint64()
		if s.lives[i].serves(t) && (best < 0 || score > most) {
			best, most = i, score
		}
	}
	return best
}

// sample is the day with every overlay, and a quiet service beside each.
func sample() *results.Results { return sampleOf(sampleModels(), 1) }

func sampleOf(models []model, factor int) *results.Results {
	busy, steal := 0.62, 0.031
	res := &results.Results{
		SchemaVersion: results.SchemaVersion,
		StartedAt:     sampleStart.Add(-4 * time.Second),
		Environment: results.Environment{
			Kind: "local", Version: "v0.1.0", GoVersion: "go1.26.8", OS: "linux", Arch: "amd64", CPUs: 2,
			BusyFraction: &busy, StealFraction: &steal,
		},
		Scenario: results.Scenario{
			Name: "day", Description: "What a Deployment goes through between two mornings, in a minute.",
			Service: "rng", Load: map[string]float64{"rng": sampleRate, "geoip": 50}, Phases: samplePhases(),
		},
		Notes: []string{"These figures are a sample made by a test, not a measurement."},
	}
	for i, m := range models {
		r := rand.New(rand.NewPCG(uint64(i), 26))
		res.Runs = append(res.Runs, m.run("rng", sampleRate, r, sampleLives("rng", r, factor)))
	}
	for i, m := range models {
		r := rand.New(rand.NewPCG(uint64(i), 27))
		var lives []life
		for n := range 3 {
			lives = append(lives, life{name: fmt.Sprintf("geoip-6c5d8f9b7-%c%05d", 'a'+n, r.IntN(1e5)), ready: -2})
		}
		m.target = map[bool]string{true: "dns:///geoip:9200", false: "dns:///geoip-headless:9200"}[m.one]
		run := m.run("geoip", 50, r, lives)
		run.Control = true
		res.Runs = append(res.Runs, run)
	}
	return res
}

func (m model) run(service string, rate int, r *rand.Rand, lives []life) results.Run {
	phases := samplePhases()
	var length float64
	for _, p := range phases {
		length += p.Seconds
	}
	run := results.Run{
		Overlay: m.overlay, Service: service, Target: m.target,
		ServiceConfig: fmt.Sprintf(`{"loadBalancingConfig":[{%q:{}}]}`, m.policy),
		Keys:          &sampleKeys,
		Timeline:      results.Timeline{StartedAt: sampleStart, BinSeconds: sampleBin.Seconds()},
	}
	bins := int(length / sampleBin.Seconds())
	run.Timeline.RPCs, run.Timeline.Failed = make([]int64, bins), make([]int64, bins)
	for i := range lives {
		l := &lives[i]
		run.Timeline.Pods = append(run.Timeline.Pods, results.TimelinePod{
			Name: l.name, ReadyAt: at(l.ready), UnreadyAt: at(l.unready), EndedAt: at(l.ended), EndReason: l.reason,
			RPCs: make([]int64, bins),
		})
	}
	first, last := map[int]float64{}, map[int]float64{}
	s := &simulation{model: m, r: r, lives: lives, hangUp: m.every * r.Float64()}
	n, keys := 0, follow()
	for i := range phases {
		from := phases[i].StartedAt.Sub(sampleStart).Seconds()
		p := results.Phase{Name: phases[i].Name, StartedAt: phases[i].StartedAt, Seconds: phases[i].Seconds, ErrorsByCode: map[string]int64{}}
		served := map[int]int64{}
		for ; float64(n) < (from+p.Seconds)*float64(rate); n++ {
			t := float64(n) / float64(rate)
			bin := min(int(t/sampleBin.Seconds()), bins-1)
			p.RPCs++
			run.Timeline.RPCs[bin]++
			key := int(keys.zipf.Uint64())
			pod := s.send(t, key)
			if pod < 0 {
				p.Failed++
				p.FailedAttempts += 3
				p.ErrorsByCode["UNAVAILABLE"]++
				p.FirstError = "rpc error: code = Unavailable desc = connection error: dial tcp 127.4.0.7:8081: connect: connection refused"
				run.Timeline.Failed[bin]++
				continue
			}
			keys.answered(key, pod, t >= from+p.Seconds/2)
			served[pod]++
			run.Timeline.Pods[pod].RPCs[bin]++
			if _, seen := first[pod]; !seen {
				first[pod] = t
			}
			last[pod] = t
		}
		p.LatencyMs = sampleLatency(r, p.RPCs-p.Failed)
		connections := int64(len(s.known))
		p.Connections = &connections
		p.Cost = results.Cost{DNSQueries: &m.dns, APIRequests: &m.api, WatchEvents: &m.events}
		samplePods(&p, lives, served)
		keys.phase(&p, readyAt(lives, from), readyAt(lives, from+p.Seconds))
		run.Phases = append(run.Phases, p)
	}
	for i := range run.Phases {
		sampleWaits(&run.Phases[i], lives, first, last)
	}
	return run
}

// samplePods fills in the pods of a phase and how evenly they were used.
func samplePods(p *results.Phase, lives []life, served map[int]int64) {
	from := p.StartedAt.Sub(sampleStart).Seconds()
	var sum, squares, most, ready float64
	for i := range lives {
		l := &lives[i]
		if l.ready >= from+p.Seconds || l.ended != 0 && l.ended <= from {
			continue
		}
		p.Pods = append(p.Pods, results.Pod{Name: l.name, RPCs: served[i], ReadyAt: at(l.ready), UnreadyAt: at(l.unready)})
		if l.readyAt(from) && (l.unready == 0 || l.unready >= from+p.Seconds) {
			n := float64(served[i])
			ready++
			sum, squares, most = sum+n, squares+n*n, max(most, n)
		}
	}
	if ready >= 2 && sum > 0 {
		spread, jain := most*ready/sum, sum*sum/(ready*squares)
		p.MaxOverMean, p.Jain = &spread, &jain
	}
	if p.Name == "scale back" && p.Failed < p.RPCs {
		recovery := 0.14
		p.RecoverySeconds = &recovery
	}
}

func sampleWaits(p *results.Phase, lives []life, first, last map[int]float64) {
	from := p.StartedAt.Sub(sampleStart).Seconds()
	within := func(t float64) bool { return t >= from && t < from+p.Seconds }
	for i := range p.Pods {
		pod := &p.Pods[i]
		k := slices.IndexFunc(lives, func(l life) bool { return l.name == pod.Name })
		if t, reached := first[k]; reached && within(lives[k].ready) {
			wait := t - lives[k].ready
			pod.FirstRPCSeconds = &wait
		}
		if lives[k].unready != 0 && within(lives[k].unready) {
			off := max(0, last[k]-lives[k].unready)
			pod.OffSeconds = &off
		}
	}
}

func sampleLatency(r *rand.Rand, n int64) results.Latency {
	if n == 0 {
		return results.Latency{}
	}
	quantile := func(sigmas float64) *float64 {
		ms := math.Exp(-0.6+0.05*r.NormFloat64()) * math.Exp(sigmas*(0.7+0.1*r.Float64()))
		return &ms
	}
	return results.Latency{P50: quantile(0), P90: quantile(1.28), P99: quantile(2.33), Max: quantile(4)}
}

func at(t float64) *time.Time {
	if t == 0 {
		return nil
	}
	instant := sampleStart.Add(seconds(t))
	return &instant
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
