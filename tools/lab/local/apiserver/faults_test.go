package apiserver_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
)

func TestAServerThatIsDownResetsConnections(t *testing.T) {
	c := newCluster(t)
	put(t, c.store, pod("a", nil))
	w := c.watch(t, podsPath+"?watch=1")
	w.want("ADDED a")
	c.SetDown(true)
	if e, err := w.next(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the watch went on with %s, or ended in good order (%v)", e.raw, err)
	}
	for _, path := range []string{podsPath, podsPath + "?watch=1", "/livez"} {
		response, err := client(t).Do(c.request(t, http.MethodGet, path, c.token))
		if err == nil {
			response.Body.Close()
		}
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: got %v, want a reset connection", path, err)
		}
	}
	c.SetDown(false)
	if names, _ := c.get(t, podsPath).names(t); len(names) != 1 {
		t.Errorf("after it came up: %v", names)
	}
	c.watch(t, podsPath+"?watch=1").want("ADDED a")
}

func TestAWatchWhoseClientDoesNotReadIsCutToo(t *testing.T) {
	store := apiserver.NewStore()
	s := apiserver.NewServer(store, apiserver.Options{})
	finished := make(chan struct{})
	listening := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(finished)
		s.ServeHTTP(w, r)
	}))
	t.Cleanup(listening.Close)
	grant(t, store, "ns", "reader", everything)
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		put(t, store, configMap("ns", name, strings.Repeat("x", 4<<20))) // more than all buffers on the way
	}
	c := &cluster{Server: s, url: listening.URL, token: s.IssueToken("ns", "reader")}
	response, err := client(t).Do(c.request(t, http.MethodGet, "/api/v1/namespaces/ns/configmaps?watch=1", c.token))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	s.SetDown(true)
	<-finished
	if usage := s.Usage("ns"); usage.WatchEvents >= 8 {
		t.Errorf("%d events were sent: the watch was never blocked", usage.WatchEvents)
	}
}

func TestOverHTTP2AServerThatIsDownResetsStreams(t *testing.T) {
	store := apiserver.NewStore()
	s := apiserver.NewServer(store, apiserver.Options{})
	listening := httptest.NewUnstartedServer(s)
	listening.EnableHTTP2 = true
	listening.StartTLS()
	t.Cleanup(listening.Close)
	t.Cleanup(s.Close)
	grant(t, store, "ns", "reader", everything)
	c := &cluster{Server: s, url: listening.URL, token: s.IssueToken("ns", "reader")}
	watch, err := listening.Client().Do(c.request(t, http.MethodGet, podsPath+"?watch=1", c.token))
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Body.Close()
	if watch.ProtoMajor != 2 {
		t.Fatalf("this is %s", watch.Proto)
	}
	s.SetDown(true)
	if _, err := io.ReadAll(watch.Body); err == nil || !strings.Contains(err.Error(), "INTERNAL_ERROR") {
		t.Errorf("the watch ended with %v, want a reset stream", err)
	}
	response, err := listening.Client().Do(c.request(t, http.MethodGet, podsPath, c.token))
	if err == nil {
		response.Body.Close()
		t.Errorf("got HTTP %d while down", response.StatusCode)
	}
	s.SetDown(false)
	response, err = listening.Client().Do(c.request(t, http.MethodGet, podsPath, c.token))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
}

func TestOverTLSAServerThatIsDownResetsConnections(t *testing.T) {
	s := apiserver.NewServer(apiserver.NewStore(), apiserver.Options{})
	listening := httptest.NewTLSServer(s)
	t.Cleanup(listening.Close)
	s.SetDown(true)
	c := &cluster{Server: s, url: listening.URL}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: listening.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}}
	t.Cleanup(transport.CloseIdleConnections)
	response, err := (&http.Client{Transport: transport}).Do(c.request(t, http.MethodGet, "/livez", ""))
	if err == nil {
		response.Body.Close()
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset connection", err)
	}
}
