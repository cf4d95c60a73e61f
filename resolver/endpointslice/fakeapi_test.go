package endpointslice

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// api stands in for the API server: list and watch of the EndpointSlices of one Service, prod/rng.
type api struct {
	*httptest.Server
	mu       sync.Mutex
	revision int
	objects  map[string]*discoveryv1.EndpointSlice
	log      []event
	changed  chan struct{} // closed at each change
	kick     chan struct{} // closed to end all watches
	status   map[string]int
	token    string
	noState  bool // does not begin a watch with the state
	gone     bool // the next watch of an old version is told that it is expired
	down     bool
	silent   bool     // takes requests and does not answer
	hasty    bool     // ends each watch before it has said anything
	requests []string // "list" and "watch", as they came
	watching int
}

type event struct {
	revision int
	Type     string                     `json:"type"`
	Object   *discoveryv1.EndpointSlice `json:"object"`
}

func newAPI(t *testing.T, objects ...*discoveryv1.EndpointSlice) *api {
	t.Helper()
	a := &api{
		objects: map[string]*discoveryv1.EndpointSlice{}, status: map[string]int{},
		changed: make(chan struct{}), kick: make(chan struct{}),
	}
	for _, object := range objects {
		a.put(object)
	}
	a.Server = httptest.NewServer(a)
	t.Cleanup(func() {
		a.endWatches()
		a.CloseClientConnections()
		a.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return a
}

// set changes how the server behaves.
func (a *api) set(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
	a.wake()
}

func (a *api) wake() {
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *api) put(object *discoveryv1.EndpointSlice) {
	a.set(func() {
		kind := "ADDED"
		if a.objects[object.Name] != nil {
			kind = "MODIFIED"
		}
		a.revision++
		object.ResourceVersion = strconv.Itoa(a.revision)
		a.objects[object.Name] = object
		a.log = append(a.log, event{a.revision, kind, object})
	})
}

func (a *api) remove(name string) {
	a.set(func() {
		a.revision++
		last := a.objects[name].DeepCopy()
		last.ResourceVersion = strconv.Itoa(a.revision)
		delete(a.objects, name)
		a.log = append(a.log, event{a.revision, "DELETED", last})
	})
}

func (a *api) endWatches() {
	a.set(func() { close(a.kick); a.kick = make(chan struct{}) })
}

func (a *api) goDown(down bool) {
	a.set(func() { a.down = down })
	a.endWatches()
	if down {
		a.CloseClientConnections()
	}
}

func (a *api) count(verb string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, request := range a.requests {
		if request == verb {
			n++
		}
	}
	return n
}

func (a *api) watchers() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.watching
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	verb := "list"
	if r.URL.Query().Get("watch") == "true" {
		verb = "watch"
	}
	a.mu.Lock()
	a.requests = append(a.requests, verb)
	status, token, noState, down, silent, hasty, kick := a.status[verb], a.token, a.noState, a.down, a.silent, a.hasty, a.kick
	a.mu.Unlock()
	withState := r.URL.Query().Get("sendInitialEvents") == "true"
	switch {
	case down:
		panic(http.ErrAbortHandler)
	case silent:
		<-kick
	case r.URL.Path != "/apis/discovery.k8s.io/v1/namespaces/prod/endpointslices" || r.URL.Query().Get("labelSelector") != "kubernetes.io/service-name=rng":
		refuse(w, http.StatusTeapot, metav1.StatusReasonUnknown)
	case token != "" && r.Header.Get("Authorization") != "Bearer "+token:
		refuse(w, http.StatusUnauthorized, metav1.StatusReasonUnauthorized)
	case status != 0:
		refuse(w, status, map[int]metav1.StatusReason{
			http.StatusForbidden: metav1.StatusReasonForbidden, http.StatusNotFound: metav1.StatusReasonNotFound,
			http.StatusTooManyRequests: metav1.StatusReasonTooManyRequests, http.StatusUnauthorized: metav1.StatusReasonUnauthorized,
		}[status])
	case verb == "list":
		a.list(w)
	case withState && noState:
		refuse(w, http.StatusUnprocessableEntity, metav1.StatusReasonInvalid)
	case hasty:
		w.Header().Set("Content-Type", "application/json")
	default:
		a.watch(w, r, withState)
	}
}

func refuse(w http.ResponseWriter, code int, reason metav1.StatusReason) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Code: int32(code), Reason: reason, Message: "as the test wants it",
	})
}

func (a *api) state() (objects []discoveryv1.EndpointSlice, revision string) {
	for _, name := range slices.Sorted(maps.Keys(a.objects)) {
		objects = append(objects, *a.objects[name])
	}
	return objects, strconv.Itoa(a.revision)
}

func (a *api) list(w http.ResponseWriter) {
	a.mu.Lock()
	objects, revision := a.state()
	a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(discoveryv1.EndpointSliceList{
		TypeMeta: metav1.TypeMeta{Kind: "EndpointSliceList", APIVersion: "discovery.k8s.io/v1"},
		ListMeta: metav1.ListMeta{ResourceVersion: revision}, Items: objects,
	})
}

func (a *api) watch(w http.ResponseWriter, r *http.Request, withState bool) {
	out := json.NewEncoder(w)
	w.Header().Set("Content-Type", "application/json")
	since, _ := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	a.mu.Lock()
	a.watching++
	kick, gone := a.kick, a.gone && since > 0 && !withState
	if gone {
		a.gone = false
	}
	var objects []discoveryv1.EndpointSlice
	mark := &discoveryv1.EndpointSlice{TypeMeta: metav1.TypeMeta{Kind: "EndpointSlice", APIVersion: "discovery.k8s.io/v1"}}
	if withState {
		objects, mark.ResourceVersion = a.state()
		since = a.revision
	}
	a.mu.Unlock()
	defer a.set(func() { a.watching-- })

	if gone {
		fmt.Fprintln(w, `{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","code":410,"reason":"Expired"}}`)
		return
	}
	for i := range objects {
		out.Encode(event{Type: "ADDED", Object: &objects[i]})
	}
	if withState {
		mark.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
		out.Encode(event{Type: "BOOKMARK", Object: mark})
	}
	for {
		w.(http.Flusher).Flush()
		a.mu.Lock()
		changed, log := a.changed, a.log
		if a.gone && !withState {
			log = nil
		}
		a.mu.Unlock()
		for _, e := range log {
			if e.revision > since {
				out.Encode(e)
				since = e.revision
			}
		}
		w.(http.Flusher).Flush()
		select {
		case <-changed:
		case <-kick:
			return
		case <-r.Context().Done():
			return
		}
	}
}
