package apiserver_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
)

const (
	podsPath = "/api/v1/namespaces/ns/pods"
	fromNow  = podsPath + "?watch=1&resourceVersion="
)

func TestAWatchSendsTheStateAndThenEveryChange(t *testing.T) {
	c := newCluster(t)
	put(t, c.store, pod("b", nil), pod("a", nil))
	for _, path := range []string{
		podsPath + "?watch=true", podsPath + "?watch=1&resourceVersion=0", "/api/v1/watch/namespaces/ns/pods",
		podsPath + "?watch=&sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
	} {
		t.Run(path, func(t *testing.T) {
			w := c.watch(t, path)
			w.want("ADDED a", "ADDED b")
			put(t, c.store, pod("c", nil), configMap("ns", "another-kind"), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "other", Name: "another-namespace"}})
			w.want("ADDED c")
			put(t, c.store, pod("a", map[string]string{"run": path[len(path)-3:]}))
			modified := w.want("MODIFIED a")
			if now := mustGet[*corev1.Pod](t, c.store, "ns", "a"); modified.Object.Metadata.ResourceVersion != now.ResourceVersion || modified.Object.Kind != "Pod" || modified.Object.APIVersion != "v1" {
				t.Errorf("got %s, want version %s", modified.raw, now.ResourceVersion)
			}
			apiserver.Delete[*corev1.Pod](c.store, "ns", "c")
			_, now := c.get(t, podsPath).names(t)
			if deleted := w.want("DELETED c"); deleted.Object.Metadata.ResourceVersion != now {
				t.Errorf("deleted at %s, want the version of the deletion %s", deleted.Object.Metadata.ResourceVersion, now)
			}
			put(t, c.store, pod("a", nil))
			w.want("MODIFIED a")
		})
	}
}

func TestAWatchFromAVersionSendsWhatCameAfterIt(t *testing.T) {
	c := newCluster(t)
	put(t, c.store, pod("a", nil))
	_, version := c.get(t, podsPath).names(t)
	put(t, c.store, pod("b", nil), pod("a", map[string]string{"x": "y"}))
	w := c.watch(t, fromNow+version)
	w.want("ADDED b", "MODIFIED a")
	put(t, c.store, pod("c", nil))
	w.want("ADDED c")
	w = c.watch(t, podsPath+"?watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan")
	put(t, c.store, pod("d", nil))
	w.want("ADDED d")
}

func TestAWatchListEndsItsInitialEventsWithAnAnnotatedBookmark(t *testing.T) {
	c := newCluster(t)
	put(t, c.store, pod("a", nil))
	_, version := c.get(t, podsPath).names(t)
	w := c.watch(t, podsPath+"?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true")
	mark := w.want("ADDED a", "BOOKMARK ")
	if mark.Object.Metadata.Annotations[metav1.InitialEventsAnnotationKey] != "true" || mark.Object.Metadata.ResourceVersion != version || mark.Object.Kind != "Pod" {
		t.Errorf("got %s, want version %s", mark.raw, version)
	}
	put(t, c.store, pod("b", nil))
	w.want("ADDED b")
}

func TestAnObjectThatComesToMatchIsAddedAndOneThatNoLongerDoesIsDeleted(t *testing.T) {
	c := newCluster(t)
	put(t, c.store, pod("a", map[string]string{"app": "geoip"}))
	w := c.watch(t, podsPath+"?watch=1&labelSelector=app%3Drng")
	put(t, c.store, pod("a", map[string]string{"app": "rng"}))
	w.want("ADDED a")
	put(t, c.store, pod("a", map[string]string{"app": "rng", "more": "labels"}))
	w.want("MODIFIED a")
	put(t, c.store, pod("a", map[string]string{"app": "geoip"}))
	last := w.want("DELETED a")
	if now := mustGet[*corev1.Pod](t, c.store, "ns", "a").ResourceVersion; last.Object.Metadata.ResourceVersion != now || last.Object.Metadata.Labels["more"] != "labels" {
		t.Errorf("got %s, want the object as it last matched, at version %s", last.raw, now)
	}
	put(t, c.store, pod("b", map[string]string{"app": "geoip"}))
	apiserver.Delete[*corev1.Pod](c.store, "ns", "a") // not seen: it is gone already
	put(t, c.store, pod("b", map[string]string{"app": "rng"}))
	w.want("ADDED b")
}

func TestAWatchOfOneObjectSeesOnlyThat(t *testing.T) {
	c := newCluster(t)
	for _, path := range []string{"/api/v1/watch/namespaces/ns/configmaps/a", "/api/v1/namespaces/ns/configmaps?watch=1&fieldSelector=metadata.name%3Da"} {
		w := c.watch(t, path) // it need not exist yet
		put(t, c.store, configMap("ns", "b", path), configMap("ns", "a", path))
		w.want("ADDED a")
		apiserver.Delete[*corev1.ConfigMap](c.store, "ns", "a")
		w.want("DELETED a")
	}
}

func TestAWatchFromAForgottenVersionGetsAnExpiredEvent(t *testing.T) {
	c := newCluster(t)
	put(t, c.store, pod("a", nil), pod("b", nil))
	c.store.Compact()
	w := c.watch(t, fromNow+"4")
	e := w.want("ERROR ")
	if e.Object.Kind != "Status" || e.Object.Code != 410 || e.Object.Reason != "Expired" || e.Object.Message != "too old resource version: 4 (5)" {
		t.Errorf("got %s", e.raw)
	}
	w.end()
	w = c.watch(t, fromNow+"5")
	put(t, c.store, pod("c", nil))
	w.want("ADDED c")
}

func TestTheLogForgetsTheOldestChanges(t *testing.T) {
	c := newCluster(t)
	put(t, c.store, pod("a", nil))
	_, version := c.get(t, podsPath).names(t)
	for i := range 4096 {
		put(t, c.store, configMap("ns", "noise", fmt.Sprint(i)))
	}
	put(t, c.store, pod("b", nil))
	c.watch(t, fromNow+version).want("ADDED b")
	for i := range 2 * 4096 {
		put(t, c.store, configMap("ns", "noise", fmt.Sprint(i)))
	}
	if e := c.watch(t, fromNow+version).want("ERROR "); e.Object.Code != 410 {
		t.Errorf("got %s", e.raw)
	}
}

func TestCloseWatchesEndsThemInGoodOrder(t *testing.T) {
	c := newCluster(t)
	put(t, c.store, pod("a", nil))
	one, two := c.watch(t, podsPath+"?watch=1"), c.watch(t, podsPath+"?watch=1")
	one.want("ADDED a")
	two.want("ADDED a")
	c.CloseWatches()
	one.end()
	two.end()
	again := c.watch(t, podsPath+"?watch=1")
	again.want("ADDED a")
	c.Close()
	again.end()
	c.watch(t, fromNow+"4").end()
}

func TestShutdownDoesNotWaitForWatches(t *testing.T) {
	store := apiserver.NewStore()
	c := &cluster{Server: apiserver.NewServer(store, apiserver.Options{}), store: store}
	listening := httptest.NewServer(c.Server)
	listening.Config.RegisterOnShutdown(c.Close)
	c.url, c.token = listening.URL, c.IssueToken("ns", "reader")
	grant(t, store, "ns", "reader", everything)
	w := c.watch(t, podsPath+"?watch=1")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := listening.Config.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	w.end()
}
