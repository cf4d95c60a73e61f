package scenario_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/evenkeel/evenkeel/tools/lab/scenario"
)

func TestAStepIsReadAsAPhaseIs(t *testing.T) {
	six := 6
	for text, want := range map[string]struct {
		scenario.Step
		action string
	}{
		`{"overlay": "all", "rollout": true}`: {
			scenario.Step{Overlay: scenario.All, Phase: scenario.Phase{Rollout: true}}, "roll out",
		},
		`{"overlay":"clusterip","freeze":2,"for":"15s","kill":1,"scale":6}`: {
			scenario.Step{Overlay: "clusterip", Phase: scenario.Phase{Freeze: 2, For: 15 * time.Second, Kill: 1, Scale: &six}},
			"freeze 2 pods for 15s, SIGKILL 1 pod, scale to 6",
		},
		`{"overlay":"all","dns":"down","api-server":"down"}`: {
			scenario.Step{Overlay: scenario.All, Phase: scenario.Phase{DNSDown: true, APIServerDown: true}},
			"API server down, DNS down",
		},
		`{"overlay":"all","dns":"up","api-server":"up","delete":1}`: {
			scenario.Step{Overlay: scenario.All, DNSUp: true, APIServerUp: true, Phase: scenario.Phase{Delete: 1}},
			"API server up, DNS up, delete 1 pod",
		},
		"overlay: dns-srv\nscale: 6": {
			scenario.Step{Overlay: "dns-srv", Phase: scenario.Phase{Scale: &six}}, "scale to 6",
		},
	} {
		got, err := scenario.ParseStep([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if diff := cmp.Diff(&want.Step, got); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
		if got.Action() != want.action {
			t.Errorf("%s: %q", text, got.Action())
		}
	}
}

func TestABadStepIsOneLineThatNamesTheFieldAndWhatIsAccepted(t *testing.T) {
	for text, want := range map[string]string{
		``:                                      `step: empty: a step has an overlay and what is done to it, as in {"overlay": "all", "rollout": true}`,
		`{`:                                     "step: yaml: line 1:",
		`[]`:                                    "step:1: the step: a list of 0 is not accepted: give a mapping with api-server, cordon,",
		`{"rollout": true}`:                     "step:1: overlay: missing",
		`{"overlay":"all"}`:                     "step:1: the step: nothing is done: give one or more of api-server, cordon,",
		`{"overlay":"all","scale":"lots"}`:      `step:1: scale: "lots" is not accepted: give a whole number from 0 to 100`,
		`{"overlay":"all","sclae":6}`:           `step:1: the step: unknown field "sclae": api-server, cordon,`,
		`{"overlay":"all","dns":"sideways"}`:    `step:1: dns: "sideways" is not accepted: give down or up`,
		`{"overlay":"all","freeze":1}`:          "step:1: for: missing: give how long the pods are frozen, such as 15s",
		`{"overlay":"all","kill":1,"for":"1s"}`: "step:1: for: of use with freeze only",
		`{"overlay":"all","freeze":1,"for":"1d"}`:         `step:1: for: "1d" is not accepted: give a duration from 1s to 1h0m0s`,
		`{"overlay":"all","rollout":true,"rollout":true}`: "step:1: rollout: given twice",
		`{"overlay":"all","rollout":true} --- {}`:         "step: ",
	} {
		_, err := scenario.ParseStep([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s\ngot:  %v\nwant: %s", text, err, want)
		}
	}
}

func FuzzParseStep(f *testing.F) {
	f.Add([]byte(`{"overlay": "all", "rollout": true}`))
	f.Add([]byte(`{"overlay": "clusterip", "freeze": 1, "for": "15s"}`))
	f.Add([]byte(`{"overlay": "clusterip", "dns": "up", "loss": {"node": 1, "percent": 5}}`))
	f.Add([]byte("overlay: &a [*a]"))
	f.Add([]byte("<<: {overlay: x}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := scenario.ParseStep(text)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}

			return
		}
		if s.Overlay == "" || s.Action() == "" || (s.Phase.Freeze > 0) != (s.Phase.For >= scenario.MinFor) {
			t.Errorf("accepted what cannot be done: %+v", s)
		}
	})
}
