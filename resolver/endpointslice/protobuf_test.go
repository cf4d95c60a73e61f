package endpointslice

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

// Real API servers answer in protobuf, the one of the other tests in JSON. Which of them is asked for both.
func TestAServerMayAnswerInProtobuf(t *testing.T) {
	done := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if accept := r.Header.Get("Accept"); !strings.HasPrefix(accept, "application/vnd.kubernetes.protobuf") || !strings.Contains(accept, "application/json") {
			t.Errorf("Accept: %s", accept)
		}
		if agent := r.Header.Get("User-Agent"); !strings.HasPrefix(agent, "endpointslice-resolver") {
			t.Errorf("User-Agent: %s", agent)
		}
		if r.URL.Query().Get("sendInitialEvents") != "" {
			encoded := encode(t, &metav1.Status{Status: metav1.StatusFailure, Code: http.StatusUnprocessableEntity, Reason: metav1.StatusReasonInvalid})
			w.Header().Set("Content-Type", "application/vnd.kubernetes.protobuf")
			w.WriteHeader(http.StatusUnprocessableEntity)
			w.Write(encoded)
			return
		}
		if r.URL.Query().Get("watch") == "" {
			w.Header().Set("Content-Type", "application/vnd.kubernetes.protobuf")
			w.Write(encode(t, &discoveryv1.EndpointSliceList{
				ListMeta: metav1.ListMeta{ResourceVersion: "1"}, Items: []discoveryv1.EndpointSlice{*sliceOf("rng-1", 8081, pod("a", "10.0.0.1"))},
			}))
			return
		}
		w.Header().Set("Content-Type", "application/vnd.kubernetes.protobuf;stream=watch")
		frames := protobuf.LengthDelimitedFramer.NewFrameWriter(w)
		later := sliceOf("rng-2", 8081, pod("b", "10.0.0.2"))
		later.ResourceVersion = "2"
		event := &metav1.WatchEvent{Type: string(watch.Added), Object: runtime.RawExtension{Raw: encode(t, later)}}
		var frame bytes.Buffer
		if err := protobuf.NewRawSerializer(scheme, scheme).Encode(event, &frame); err != nil {
			t.Error(err)
		}
		frames.Write(frame.Bytes())
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
		case <-done:
		}
	}))
	t.Cleanup(func() {
		close(done)
		server.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	c := resolve(t, NewBuilder(Config{REST: &rest.Config{Host: server.URL}, Namespace: "prod"}), target)
	c.wantEndpoints(t, "10.0.0.1:8081", "10.0.0.2:8081")
}

func encode(t *testing.T, object runtime.Object) []byte {
	t.Helper()
	kinds, _, err := scheme.ObjectKinds(object)
	if err != nil {
		t.Error(err)
		return nil
	}
	object.GetObjectKind().SetGroupVersionKind(kinds[0])
	var out bytes.Buffer
	if err := protobuf.NewSerializer(scheme, scheme).Encode(object, io.Writer(&out)); err != nil {
		t.Error(err)
	}
	return out.Bytes()
}
