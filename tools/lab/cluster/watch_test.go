package cluster

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/evenkeel/evenkeel/tools/lab/render"
	"github.com/evenkeel/evenkeel/tools/lab/scorecard"
)

var begun = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func second(n int) time.Time { return begun.Add(time.Duration(n) * time.Second) }

func at(n int) *time.Time { return new(second(n)) }

// pod is one of rng, so many seconds after the beginning.
func pod(name string, made int, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "ns", Name: name, Labels: map[string]string{nameLabel: "rng"}, CreationTimestamp: metav1.NewTime(second(made)),
	}}
	p.Status.PodIP = "192.0.2.1"
	for _, c := range change {
		c(p)
	}

	return p
}

// seeing is a watch that has seen these.
func seeing(t *testing.T, pods []*corev1.Pod, ready map[string]*bool) *watch {
	t.Helper()
	w := unheard()
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "rng-1"}}
	for name, is := range ready {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: name}, Conditions: discoveryv1.EndpointConditions{Ready: is},
		})
	}
	slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{}) // written by hand, of no pod
	if err := w.slices.Add(slice); err != nil {
		t.Fatal(err)
	}
	for _, p := range pods {
		if err := w.pods.Add(p); err != nil {
			t.Fatal(err)
		}
	}

	return w
}

func TestALifeIsFromTheFirstSightOfAPodToItsEnd(t *testing.T) {
	l := newLives()
	l.setReady(map[string]bool{"early": true}, second(0)) // its slice came first
	l.seen(pod("early", 0), second(1))
	l.seen(pod("late", 0), second(2))
	l.setReady(map[string]bool{"early": true, "late": true}, second(3))
	l.setReady(map[string]bool{"late": true}, second(4))
	l.setReady(map[string]bool{"early": true, "late": true}, second(5)) // it had not gone
	l.setReady(map[string]bool{"late": true}, second(6))
	l.deleted(pod("early", 0), second(7))
	l.kill("late")
	l.setReady(map[string]bool{}, second(8))
	l.seen(pod("late", 0, func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }), second(8))
	l.deleted(pod("late", 0), second(9)) // its end was seen

	want := []scorecard.Life{
		{
			Name: "early", Service: "rng", Address: "192.0.2.1", CreatedAt: second(0),
			ReadyAt: at(0), UnreadyAt: at(6), EndedAt: at(7), EndReason: scorecard.Drained,
		},
		{
			Name: "late", Service: "rng", Address: "192.0.2.1", CreatedAt: second(2),
			ReadyAt: at(3), UnreadyAt: at(8), EndedAt: at(8), EndReason: scorecard.Killed,
		},
	}
	if diff := cmp.Diff(want, l.all()); diff != "" {
		t.Error(diff)
	}
}

func TestWhatCameAndWentWhileAWatchWasBrokenOffIsTold(t *testing.T) {
	w := seeing(t, []*corev1.Pod{pod("stays", 0), pod("goes", 0)}, nil)
	select {
	case <-w.pods.synced:
		t.Error("single pods are not all that there are")
	default:
	}
	if err := w.pods.Replace([]any{pod("stays", 0), pod("came", 1)}, "7"); err != nil {
		t.Fatal(err)
	}
	<-w.pods.synced
	var names []string
	for _, life := range w.lives.all() {
		names = append(names, life.Name+" "+life.EndReason)
	}
	if diff := cmp.Diff([]string{"stays ", "goes " + scorecard.Drained, "came "}, names); diff != "" {
		t.Error(diff)
	}
	if n := len(w.podsOf("rng")); n != 2 {
		t.Errorf("%d pods are there, not 2", n)
	}
}

func TestAnEndpointWithoutAConditionIsReady(t *testing.T) {
	w := seeing(t, nil, map[string]*bool{"unknown": nil, "yes": new(true), "no": new(false)})
	if diff := cmp.Diff(map[string]bool{"unknown": true, "yes": true}, w.ready()); diff != "" {
		t.Error(diff)
	}
}

func TestPodsAreChosenAmongThoseThatAreReadyAndStayTheOldestFirstAndNoneTwice(t *testing.T) {
	leaving := func(p *corev1.Pod) { p.DeletionTimestamp = new(metav1.NewTime(second(9))) }
	e := &Environment{watches: map[string]*watch{"ns": seeing(t,
		[]*corev1.Pod{pod("d", 3), pod("b", 1), pod("a", 1), pod("leaving", 0, leaving), pod("new", 0), pod("c", 2)},
		map[string]*bool{"a": nil, "b": nil, "c": nil, "d": nil, "leaving": nil},
	)}}
	overlays := []*render.Overlay{{Name: "o", Namespace: "ns"}}
	c, err := e.choose(overlays, "rng", 1, 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	names := func(pods []*corev1.Pod) (names []string) {
		for _, p := range pods {
			names = append(names, p.Name)
		}

		return names
	}
	if diff := cmp.Diff([][]string{{"a"}, {"b", "c"}, {"d"}}, [][]string{names(c.kill), names(c.delete), names(c.freeze)}); diff != "" {
		t.Error(diff)
	}
	_, err = e.choose(overlays, "rng", 2, 2, 1)
	if want := "overlay o: only 4 pods of rng are ready, not 5"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestAPodThatWillNotRunIsNamedWithTheReason(t *testing.T) {
	waits := func(reason string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{
				State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "no\nsuch image"}},
			}}
		}
	}
	w := seeing(t, []*corev1.Pod{pod("starting", 0, waits("ContainerCreating")), pod("running", 0)}, nil)
	if err := w.stuck("rng"); err != nil {
		t.Errorf("pods that start are stuck: %v", err)
	}
	w = seeing(t, []*corev1.Pod{pod("bad", 0, waits("ImagePullBackOff"))}, nil)
	if err := w.stuck("rng"); err == nil || err.Error() != "pod ns/bad: ImagePullBackOff: no such image" {
		t.Errorf("got %v", err)
	}
}
