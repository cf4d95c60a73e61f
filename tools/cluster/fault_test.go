//go:build linux

package main

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
)

func TestAFaultIsUnderstoodAsItIsWritten(t *testing.T) {
	parse := func(line string) (faultCommand, error) {
		var flags cli
		parser, err := kong.New(&flags)
		if err != nil {
			t.Fatal(err)
		}
		_, err = parser.Parse(strings.Fields("fault " + line))

		return flags.Fault, err
	}
	for line, want := range map[string]faultCommand{
		"kill-pod default/web-0":                {KillPod: killPodCommand{Pod: podName{"default", "web-0"}}},
		"freeze-pod default/web-0 --for 1m30s":  {FreezePod: freezePodCommand{lasting{For: span(90 * time.Second)}, podName{"default", "web-0"}}},
		"freeze-node node2 --until-eof":         {FreezeNode: freezeNodeCommand{lasting{UntilEOF: true}, "node2"}},
		"partition node2":                       {Partition: partitionCommand{Node: "node2"}},
		"loss node1 2.5 --for 1s --until-eof":   {Loss: lossCommand{lasting{span(time.Second), true}, "node1", 2.5}},
		"delay node1 50ms":                      {Delay: delayCommand{Node: "node1", By: span(50 * time.Millisecond)}},
		"api-server --freeze --for=20s":         {APIServer: apiServerCommand{lasting{For: span(20 * time.Second)}, true}},
		"api-server":                            {},
		"freeze-pod default/web-0 --for 1000ms": {FreezePod: freezePodCommand{lasting{For: span(time.Second)}, podName{"default", "web-0"}}},
	} {
		got, err := parse(line)
		if err != nil {
			t.Errorf("%s: %v", line, err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(freezePodCommand{}, freezeNodeCommand{}, partitionCommand{}, lossCommand{}, delayCommand{}, apiServerCommand{}, podName{})); diff != "" {
			t.Errorf("%s: %s", line, diff)
		}
	}
	for line, want := range map[string]string{
		"kill-pod web":                 `<namespace/pod>: "web", and it must be NAMESPACE/POD, such as default/web-0`,
		"freeze-pod a/b/c":             `"a/b/c", and`,
		"freeze-pod /b":                `"/b", and`,
		"loss node1 0":                 `<percent>: "0", and it must be a number from 0.01 to 100`,
		"loss node1 100.1":             `"100.1", and`,
		"loss node1 NaN":               `"NaN", and`,
		"loss node1 5%":                `"5%", and`,
		"delay node1 0s":               `<duration>: "0s", and it must be a duration from 1ms to 1h, such as 30s`,
		"delay node1 50":               `"50", and`,
		"partition node1 --for=-1s":    `--for: "-1s", and`,
		"partition node1 --for 0":      `--for: "0", and`,
		"partition":                    `expected "<node>"`,
		"kill-pod default/web --for 1": `unknown flag --for`,
	} {
		if _, err := parse(line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %s", line, err, want)
		}
	}
}

func FuzzFaultArguments(f *testing.F) {
	for _, seed := range []string{"default/web-0", "/", "a/b/c", "5", "1e-2", "-0", "Inf", "NaN", "30s", "1h1ns", "-1s"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var pod podName
		if pod.UnmarshalText(text) == nil && pod.String() != string(text) {
			t.Errorf("%q gives the pod %s", text, pod)
		}
		var share percent
		if share.UnmarshalText(text) == nil && (of10000(float64(share)) < 1 || of10000(float64(share)) > 10000) {
			t.Errorf("%q gives %v %%", text, share)
		}
		var time span
		if time.UnmarshalText(text) == nil && time <= 0 {
			t.Errorf("%q gives %d ns", text, time)
		}
	})
}

func TestAFaultEndsWhenItIsTold(t *testing.T) {
	for name, test := range map[string]struct {
		lasting lasting
		end     func(cancel func(), input io.Closer)
		after   time.Duration
	}{
		"by a signal":                        {end: func(cancel func(), _ io.Closer) { cancel() }, after: time.Minute},
		"by a signal before its time":        {lasting{For: span(time.Hour), UntilEOF: true}, func(cancel func(), _ io.Closer) { cancel() }, time.Minute},
		"by the end of input":                {lasting{UntilEOF: true}, func(_ func(), input io.Closer) { _ = input.Close() }, time.Minute},
		"by time":                            {lasting{For: span(5 * time.Second)}, func(func(), io.Closer) {}, 5 * time.Second},
		"by time, whatever becomes of input": {lasting{For: span(2 * time.Minute)}, func(_ func(), input io.Closer) { _ = input.Close() }, 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				input, caller := io.Pipe()
				defer caller.Close() // lets go of who reads
				go func() {
					_, _ = caller.Write([]byte("what is said there does not matter"))
				}()
				defer input.Close()
				time.AfterFunc(time.Minute, func() { test.end(cancel, caller) })
				began := time.Now()
				test.lasting.wait(ctx, input)
				if took := time.Since(began); took != test.after {
					t.Errorf("it ended after %s, want %s", took, test.after)
				}
			})
		})
	}
}

func TestAnUnknownNodeOrPodIsAnsweredWithWhatThereIs(t *testing.T) {
	r := &record{Nodes: 2, Members: []member{{Name: "control-plane"}, {Name: "node1"}, {Name: "node2"}}}
	if k, err := r.nodeNamed("node2"); k != 2 || err != nil {
		t.Errorf("got %d, %v", k, err)
	}
	for _, name := range []string{"node3", "control-plane", ""} {
		if _, err := r.nodeNamed(name); err == nil || !strings.HasSuffix(err.Error(), `: not one of node1, node2`) {
			t.Errorf("%q: got %v", name, err)
		}
	}

	all := []container{
		{pod: podName{"shop", "web-1"}, sandbox: true, cgroup: "/n/pod1/a"},
		{pod: podName{"shop", "web-1"}, cgroup: "/n/pod1/b"},
		{pod: podName{"shop", "web-0"}, cgroup: "/n/pod0/a"},
		{pod: podName{"kube-system", "dns"}, cgroup: "/n/pod2/a"},
	}
	if got := podCgroups(of(all, podName{"shop", "web-1"})); !cmp.Equal(got, []string{"/n/pod1"}) {
		t.Errorf("the cgroups of a pod of two containers: %v", got)
	}
	for pod, want := range map[podName]string{
		{"shop", "web"}:  `pod "shop/web": not one of those that run: shop/web-0, shop/web-1`,
		{"shops", "web"}: `pod "shops/web": not one of those that run: kube-system/dns, shop/web-0, shop/web-1`,
	} {
		if err := unknownPod(pod, all); err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := unknownPod(podName{"a", "b"}, nil); err.Error() != `pod "a/b": no pod runs` {
		t.Errorf("got %v", err)
	}
}

const dnsContainer = `{"annotations": {"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-name": "dns-0",
	"io.kubernetes.cri.sandbox-namespace": "kube-system"}, "linux": {"cgroupsPath": "/evenkeel-1/node1/kubepods/podX/Y"}}`

func TestAContainerTellsItsPod(t *testing.T) {
	want := container{pod: podName{"kube-system", "dns-0"}, cgroup: "/evenkeel-1/node1/kubepods/podX/Y"}
	if got, err := parseContainer([]byte(dnsContainer)); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	want.sandbox = true
	if got, err := parseContainer([]byte(strings.Replace(dnsContainer, `"container"`, `"sandbox"`, 1))); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, text := range []string{`{}`, `[]`, ``, strings.Replace(dnsContainer, "/evenkeel", "system.slice:evenkeel", 1)} {
		if got, err := parseContainer([]byte(text)); err == nil {
			t.Errorf("%s gives %+v", text, got)
		}
	}
}

func FuzzContainer(f *testing.F) {
	f.Add([]byte(dnsContainer))
	f.Add([]byte(`{"annotations": null, "linux": 3}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := parseContainer(text)
		if err == nil && (got.pod.name == "" || got.pod.namespace == "" || !strings.HasPrefix(got.cgroup, "/")) {
			t.Errorf("%s gives %+v", text, got)
		}
	})
}

func TestAFaultThatIsWrittenDownIsFoundAgain(t *testing.T) {
	c := &cluster{home: t.TempDir()}
	if all, err := c.faults(); err != nil || len(all) > 0 {
		t.Errorf("without a cluster: %v, %v", all, err)
	}
	started, err := startOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	lives := member{PID: os.Getpid(), Started: started}
	died := member{PID: os.Getpid(), Started: started + "0"}
	want := []fault{ // in the order of their files' names
		{Kind: apiServer, Freeze: true, Keeper: lives},
		{Kind: delay, Target: "node1", Node: 1, Delay: 50 * time.Millisecond, Keeper: died},
		{Kind: freezePod, Target: "shop/web-0", Node: 2, Cgroups: []string{"/a", "/b"}, Keeper: lives},
		{Kind: loss, Target: "node1", Node: 1, Percent: 2.5, Keeper: died},
		{Kind: loss, Target: "node2", Node: 2, Percent: 0.01, Keeper: lives},
	}
	if err := os.MkdirAll(c.run("faults"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range want {
		if err := replace(c.file(f), f); err != nil {
			t.Fatal(err)
		}
	}
	got, err := c.faults()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for i, start := range []string{
		"api-server --freeze is in force: end it first (process ",
		"delay node1 50ms was left behind by a command that was killed: `cluster up` undoes it",
		"freeze-pod shop/web-0 is in force",
		"loss node1 2.5 was left behind",
		"loss node2 0.01 is in force",
	} {
		if got := want[i].state(); !strings.HasPrefix(got, start) {
			t.Errorf("got %q, want %q", got, start)
		}
	}
	if err := os.WriteFile(c.run("faults", "loss_node3.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.faults(); err == nil || !strings.Contains(err.Error(), "loss_node3.json") {
		t.Errorf("half a file: got %v", err)
	}
}
