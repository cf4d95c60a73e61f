package kubernetes

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/evenkeel/evenkeel/tools/conformance"
)

const fromState = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"

// What goes wrong must go wrong in the same way in both clusters.
func TestTheProxySpoilsRequestsAsTheStandInDoes(t *testing.T) {
	for name, cluster := range map[string]func(*testing.T) *spoiled{"stand-in": standIn, "proxy": proxied} {
		for what, test := range map[string]func(*testing.T, *spoiled){
			"refusing": func(t *testing.T, s *spoiled) { outage(t, s, conformance.Refusing) },
			"breaking": func(t *testing.T, s *spoiled) { outage(t, s, conformance.Breaking) },
			"silent":   silent,
			"closed":   closed,
			"revoked":  revoked,
			"expired":  expires,
		} {
			t.Run(name+"/"+what, func(t *testing.T) { test(t, cluster(t)) })
		}
	}
}

func outage(t *testing.T, s *spoiled, kind conformance.Outage) {
	t.Helper()
	for range 2 { // also once more
		next := s.watch(t, "resourceVersion=0")
		if err := s.SetOutage(kind); err != nil {
			t.Fatal(err)
		}
		if event, err := next(); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the watch went on with %q, or ended otherwise than by a reset (%v)", event, err)
		}
		response, err := s.get(t.Context(), "")
		if err == nil {
			response.Body.Close()
			t.Fatalf("HTTP %d in an outage", response.StatusCode)
		}
		if refused := errors.Is(err, syscall.ECONNREFUSED); refused != (kind == conformance.Refusing) {
			t.Errorf("the connection ended with %v", err)
		}
		if err := s.SetOutage(conformance.Up); err != nil {
			t.Fatal(err)
		}
		if code := s.code(t); code != http.StatusOK {
			t.Errorf("HTTP %d after it", code)
		}
	}
}

func silent(t *testing.T, s *spoiled) {
	t.Helper()
	next := s.watch(t, "resourceVersion=0")
	if err := s.SetOutage(conformance.Silent); err != nil {
		t.Fatal(err)
	}
	if event, err := next(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the watch went on with %q, or ended in good order (%v)", event, err)
	}
	answered := make(chan int, 1)
	go func() {
		response, err := s.get(t.Context(), "")
		if err != nil {
			t.Error(err)
			close(answered)

			return
		}
		response.Body.Close()
		answered <- response.StatusCode
	}()
	select {
	case code := <-answered:
		t.Fatalf("HTTP %d in an outage", code)
	case <-time.After(200 * time.Millisecond): // long enough for an answer
	}
	if err := s.SetOutage(conformance.Up); err != nil {
		t.Fatal(err)
	}
	if code := <-answered; code != http.StatusOK {
		t.Errorf("HTTP %d after it", code)
	}
}

func closed(t *testing.T, s *spoiled) {
	t.Helper()
	s.store("a")
	next := s.watch(t, fromState)
	s.CloseWatches() // before the state was read, which comes nevertheless
	want(t, next, "ADDED", `"name":"a"`)
	want(t, next, "BOOKMARK", metav1.InitialEventsAnnotationKey)
	if event, err := next(); !errors.Is(err, io.EOF) {
		t.Errorf("the watch ended with %v instead of in good order, or went on with %q", err, event)
	}
	next = s.watch(t, fromState)
	want(t, next, "ADDED")
	want(t, next, "BOOKMARK")
	s.store("b")
	want(t, next, "ADDED", `"name":"b"`)
}

func revoked(t *testing.T, s *spoiled) {
	t.Helper()
	next := s.watch(t, "resourceVersion=0")
	if err := s.RevokeToken(t.Context(), s.token); err != nil {
		t.Fatal(err)
	}
	if code := s.code(t); code != http.StatusUnauthorized {
		t.Errorf("HTTP %d, want 401", code)
	}
	s.store("a")
	want(t, next, "ADDED", `"name":"a"`)
}

func expires(t *testing.T, s *spoiled) {
	t.Helper()
	s.store("a")
	next := s.watch(t, fromState)
	want(t, next, "ADDED")
	event, err := next()
	if err != nil {
		t.Fatal(err)
	}
	_, version, _ := strings.Cut(event, `"resourceVersion":"`)
	version, _, _ = strings.Cut(version, `"`)
	s.store("b")
	if err := s.Expire(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(t, s.watch(t, "resourceVersion="+version), "ERROR", "Expired", "410")
	next = s.watch(t, fromState+"&resourceVersion="+version) // which must only not be older
	want(t, next, "ADDED")
}

func TestOnlyWatchesFromAnExpiredVersionAskForAnotherOne(t *testing.T) {
	p := &proxy{oldest: 100}
	for query, want := range map[string]string{
		"watch=1&resourceVersion=99":                           beforeHistory,
		"watch=1&resourceVersion=100":                          "100",
		"watch=1&resourceVersion=0":                            "0",
		"watch=1":                                              "",
		"watch=1&sendInitialEvents=true&resourceVersion=99":    "99", // and not an older one
		"resourceVersion=99&resourceVersionMatch=NotOlderThan": "99",
	} {
		request := httptest.NewRequest(http.MethodGet, "/apis/discovery.k8s.io/v1/endpointslices?"+query, http.NoBody)
		p.spoil(request)
		if got := request.URL.Query().Get("resourceVersion"); got != want {
			t.Errorf("%s: asks for %q, want %q", query, got, want)
		}
	}
}

func TestWhatIsWrittenAtOnceIsSeenAfterIt(t *testing.T) {
	s := proxied(t)
	next := s.watch(t, fromState)
	want(t, next, "BOOKMARK")
	seen := make(chan string, 1)
	go func() {
		event, _ := next()
		seen <- event
	}()
	if err := s.AtOnce(func() error {
		s.store("a")
		if code := s.code(t); code != http.StatusOK { // later than the event, if that were let through
			t.Errorf("HTTP %d for a list", code)
		}
		if len(seen) > 0 {
			return fmt.Errorf("the watch said %s", <-seen)
		}

		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if event := <-seen; !strings.Contains(event, `"name":"a"`) {
		t.Errorf("the watch said %s", event)
	}
}

func TestOnlyKindsOfTheSuiteAreWritten(t *testing.T) {
	if err := (&Cluster{}).Put(t.Context(), &corev1.Secret{}); err == nil || !strings.Contains(err.Error(), "Secret") {
		t.Errorf("got %v", err)
	}
}
