package scenario_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/evenkeel/evenkeel/tools/lab/scenario"
)

const valid = `name: short
service: rng
start:
  replicas: 3
load:
  rng: 180
phases:
  - name: steady
    for: 6s
  - name: scale up
    for: 2s
    scale: 6
`

func TestAScenarioIsReadAsItIsWritten(t *testing.T) {
	got, err := scenario.Parse("short.yaml", []byte(valid+`  - name: storm
    for: 1m
    rollout: true
    kill: 2
    freeze: 1
    api-server: down
    dns: down
`))
	if err != nil {
		t.Fatal(err)
	}
	six := 6
	want := &scenario.Scenario{
		Name: "short", Service: "rng", Replicas: 3, Load: map[string]float64{"rng": 180},
		Phases: []scenario.Phase{
			{Name: "steady", For: 6 * time.Second, Graceful: true},
			{Name: "scale up", For: 2 * time.Second, Scale: &six, Graceful: true},
			{
				Name: "storm", For: time.Minute, Rollout: true, Kill: 2, Freeze: 1,
				APIServerDown: true, DNSDown: true,
			},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if action := got.Phases[2].Action(); action != "API server down, DNS down, freeze 1 pod, SIGKILL 2 pods, roll out" {
		t.Error(action)
	}
	if got.Length() != 68*time.Second {
		t.Error(got.Length())
	}
}

func TestWhatIsDoneToNodesAndKeysIsRead(t *testing.T) {
	got, err := scenario.Parse("nodes.yaml", []byte(valid+`  - name: drain
    for: 20s
    drain-node: 2
  - name: leave
    for: 5s
    delete: 2
    cordon: 1
  - name: network
    for: 5s
    partition-node: 1
    freeze-node: 2
    loss: {node: 1, percent: 5}
    delay: {node: 2, by: 20ms}
keys:
  count: 500
  skew: 1.2
`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&scenario.Keys{Count: 500, Skew: 1.2}, got.Keys); diff != "" {
		t.Error(diff)
	}
	wantEnv := map[string]string{"RNG_RATE": "180", "KEYS": "zipf", "KEY_COUNT": "500", "KEY_SKEW": "1.2"}
	if diff := cmp.Diff(wantEnv, got.ClientEnv()); diff != "" {
		t.Error(diff)
	}
	want := []scenario.Phase{
		{Name: "drain", For: 20 * time.Second, DrainNode: 2, Graceful: true},
		{Name: "leave", For: 5 * time.Second, Delete: 2, Cordon: 1, Graceful: true},
		{
			Name: "network", For: 5 * time.Second, PartitionNode: 1, FreezeNode: 2,
			Loss: &scenario.Loss{Node: 1, Percent: 5}, Delay: &scenario.Delay{Node: 2, By: 20 * time.Millisecond},
		},
	}
	if diff := cmp.Diff(want, got.Phases[2:]); diff != "" {
		t.Error(diff)
	}
	wantAction := "lose 5 % of node 1's packets, delay node 2's packets by 20ms, partition node 1, freeze node 2"
	if action := got.Phases[4].Action(); action != wantAction {
		t.Error(action)
	}
}

func TestAPhaseThatIsRepeatedIsAPhaseEachTime(t *testing.T) {
	got, err := scenario.Parse("x.yaml", []byte(valid+"    repeat: 3\n"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range got.Phases {
		names = append(names, p.Name)
	}
	if diff := cmp.Diff([]string{"steady", "scale up 1", "scale up 2", "scale up 3"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestAScenarioWithAStepThatAnEnvironmentCannotDoIsRefusedByName(t *testing.T) {
	s, err := scenario.Parse("x.yaml", []byte(valid+"    drain-node: 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Refuse("local", map[string]string{"kill": "no"}); err != nil {
		t.Errorf("refused for a step that it has not: %v", err)
	}
	err = s.Refuse("local", map[string]string{"drain-node": "there is one node, this machine"})
	want := `scenario short: phase "scale up": drain-node: the local environment cannot do that: there is one node, this machine`
	if err == nil || err.Error() != want {
		t.Errorf("got:  %v\nwant: %s", err, want)
	}
}

func TestDeletingEveryPodIsNotGraceful(t *testing.T) {
	s, err := scenario.Parse("x.yaml", []byte(valid+"  - name: all\n    for: 5s\n    delete: 6\n"))
	if err != nil {
		t.Fatal(err)
	}
	if s.Phases[2].Graceful {
		t.Error("six pods of six are deleted, and that is called graceful")
	}
}

func TestAPhaseIsGracefulWhilePodsComeAndGoInOrderAndThereIsOne(t *testing.T) {
	got, err := scenario.Load("../scenarios/day.yaml")
	if err != nil {
		t.Fatal(err)
	}
	graceful := map[string]bool{}
	for _, p := range got.Phases {
		graceful[p.Name] = p.Graceful
	}
	want := map[string]bool{
		"steady": true, "scale up": true, "rolling update": true, "crash": false,
		"scale to zero": false, "scale back": false, "scale down": true,
	}
	if diff := cmp.Diff(want, graceful); diff != "" {
		t.Error(diff)
	}
}

func TestABadScenarioIsOneLineThatNamesFileLineFieldAndWhatIsAccepted(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"empty":        {"", "x.yaml: empty: a scenario has name, service, start, load and phases"},
		"not YAML":     {"name: [", "x.yaml: yaml: line 1:"},
		"not a map":    {"- 1", "x.yaml:1: the scenario: a list of 1 is not accepted: give a mapping with"},
		"two":          {valid + "---\n{}", "x.yaml: more than one YAML document"},
		"unknown":      {"title: x\n", `x.yaml:1: the scenario: unknown field "title": description, keys, load, name, phases, service, start are accepted`},
		"twice":        {"name: x\nname: y\n", "x.yaml:2: name: given twice"},
		"missing":      {"name: x\n", "x.yaml:1: service: missing"},
		"service":      {strings.Replace(valid, "service: rng", "service: rgn", 1), `x.yaml:2: service: "rgn" is not accepted: give rng or geoip`},
		"replicas":     {strings.Replace(valid, "replicas: 3", "replicas: -1", 1), `x.yaml:4: start.replicas: "-1" is not accepted: give a whole number from 0 to 100`},
		"rate":         {strings.Replace(valid, "rng: 180", "rng: .nan", 1), `x.yaml:6: load.rng: ".nan" is not accepted: give RPCs a second, 0 to 100000`},
		"no load":      {strings.Replace(valid, "rng: 180", "geoip: 1", 1), "load.rng: missing"},
		"duration":     {strings.Replace(valid, "for: 6s", "for: 6", 1), `x.yaml:9: phases[0].for: "6" is not accepted: give a duration from 1s to 1h0m0s`},
		"scale":        {strings.Replace(valid, "scale: 6", "scale: six", 1), `x.yaml:12: phases[1].scale: "six" is not accepted: give a whole number from 0 to 100`},
		"huge":         {strings.Replace(valid, "scale: 6", "scale: 100000", 1), "phases[1].scale"},
		"step":         {strings.Replace(valid, "scale: 6", "sclae: 6", 1), `x.yaml:12: phases[1]: unknown field "sclae": api-server, cordon, delay, delete, dns, drain-node, for, freeze, freeze-node, kill, loss, name, partition-node, repeat, rollout, scale are accepted`},
		"same name":    {strings.Replace(valid, "name: scale up", "name: steady", 1), `x.yaml:10: phases[1].name: "steady" is the name of an earlier phase too`},
		"api-server":   {valid + "    api-server: up\n", `phases[1].api-server: "up" is not accepted: give down`},
		"rollout":      {valid + "    rollout: [1]\n", "phases[1].rollout: a list of 1 is not accepted: give true"},
		"kill nobody":  {valid + "    kill: 0\n", `phases[1].kill: "0" is not accepted: give a whole number from 1 to 100`},
		"no phases":    {"name: x\nphases: []\n", "x.yaml:2: phases: a list of 0 is not accepted: give a list of 1 to 100 phases"},
		"blank name":   {strings.Replace(valid, "name: short", "name: ' '", 1), `x.yaml:1: name: " " is not accepted`},
		"alias":        {"name: &a x\nservice: *a\n", "x.yaml:2: service: an alias is not accepted"},
		"repeat":       {valid + "    repeat: 100\n", "x.yaml:8: phases: 101 phases, repeated ones counted"},
		"node":         {valid + "    drain-node: true\n", `phases[1].drain-node: "true" is not accepted: give a whole number from 1 to 1000`},
		"loss":         {valid + "    loss: {node: 1}\n", `phases[1].loss.percent: missing`},
		"all lost":     {valid + "    loss: {node: 1, percent: 101}\n", `phases[1].loss.percent: "101" is not accepted: give a whole number from 1 to 100`},
		"delay":        {valid + "    delay: {node: 1, by: 1m}\n", `phases[1].delay.by: "1m" is not accepted: give a duration from 1ms to 10s, such as 20ms`},
		"skew":         {valid + "keys: {count: 10, skew: 1}\n", `keys.skew: "1" is not accepted: give Zipf's exponent, 1.01 to 10`},
		"phase is not": {"phases: [1]\n", `x.yaml:1: phases[0]: "1" is not accepted: give a mapping with`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := scenario.Parse("x.yaml", []byte(test.text))
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got:  %v\nwant: %s", err, test.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(valid))
	f.Add([]byte("name: &a [*a]"))
	f.Add([]byte("? {a: b}\n: c"))
	f.Add([]byte("<<: {name: x}"))
	f.Add([]byte("phases:\n- <<: [1]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := scenario.Parse("fuzz.yaml", text)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}

			return
		}
		if len(s.Phases) == 0 || s.Name == "" || s.Load[s.Service] <= 0 {
			t.Errorf("accepted what cannot be run: %+v", s)
		}
		for _, p := range s.Phases {
			if p.For < scenario.MinFor || p.For > scenario.MaxFor {
				t.Errorf("accepted a phase of %v", p.For)
			}
		}
	})
}

func TestEveryScenarioOfOursIsOneAndIsDocumented(t *testing.T) {
	files, err := filepath.Glob("../scenarios/*.yaml")
	if err != nil || len(files) < 9 {
		t.Fatalf("%d scenarios, %v", len(files), err)
	}
	page, err := os.ReadFile("../../../docs/scenarios.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		s, err := scenario.Load(file)
		if err != nil {
			t.Error(err)
			continue
		}
		if s.Name != name {
			t.Errorf("%s: its name is %q", file, s.Name)
		}
		if link := "| [" + name + "](../tools/lab/scenarios/" + name + ".yaml) |"; !strings.Contains(string(page), link) {
			t.Errorf("docs/scenarios.md does not have %s", link)
		}
	}
}
