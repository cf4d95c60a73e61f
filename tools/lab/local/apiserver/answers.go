package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// freshnessWait is how long a read waits for a revision that the store has not reached, and freshnessRetry is when it
// tells the client to try again (upstream: blockTimeout and resourceVersionTooHighRetrySeconds).
const (
	freshnessWait  = 3 * time.Second
	freshnessRetry = 1 // seconds
)

func (s *Server) get(ctx context.Context, w http.ResponseWriter, req *request) error {
	options := metav1.GetOptions{}
	if err := scheme.ParameterCodec.DecodeParameters(req.query, metav1.SchemeGroupVersion, &options); err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	revision, err := parseRevision(options.ResourceVersion)
	if err != nil {
		return apierrors.NewBadRequest(fmt.Sprintf("invalid resource version: %v", err))
	}
	if err := s.waitFor(ctx, revision); err != nil {
		return err
	}
	found := s.store.get(req.kind, req.scope(), req.name)
	if found == nil {
		return apierrors.NewNotFound(req.groupResource(), req.name)
	}
	writeJSON(w, http.StatusOK, req.kind.typed(found.encoded))
	return nil
}

// list answers with everything at once. A limit is a wish that a server may ignore, as upstream does for
// resourceVersion=0; then there is no continue token to come back with.
func (s *Server) list(ctx context.Context, w http.ResponseWriter, req *request) error {
	options, err := req.listOptions()
	if err != nil {
		return err
	}
	revision, err := parseRevision(options.ResourceVersion)
	if err != nil {
		return apierrors.NewBadRequest(fmt.Sprintf("invalid resource version: %v", err))
	}
	if options.Continue != "" {
		return apierrors.NewBadRequest("invalid continue token: this server answers every list at once and issues none")
	}
	if err := s.waitFor(ctx, revision); err != nil {
		return err
	}
	var found []*stored
	exact := options.ResourceVersionMatch == metav1.ResourceVersionMatchExact ||
		options.ResourceVersionMatch == "" && options.Limit > 0 && revision > 0 // as upstream, from before resourceVersionMatch
	if exact {
		found, err = s.store.listAt(req.kind, req.scope(), revision)
	} else {
		found, revision = s.store.list(req.kind, req.scope())
	}
	if err != nil {
		return err
	}
	answer := fmt.Appendf(nil, `{"kind":%q,"apiVersion":%q,"metadata":{"resourceVersion":"%d"},"items":[`,
		req.kind.name+"List", req.kind.groupVersion(), revision)
	selected, first := req.selection(options), true
	for _, each := range found {
		if !selected.matches(each) {
			continue
		}
		if !first {
			answer = append(answer, ',')
		}
		answer, first = append(answer, each.encoded...), false
	}
	writeJSON(w, http.StatusOK, append(answer, "]}"...))
	return nil
}

// waitFor waits until the store is at least at a revision. A client may have seen it on another server.
func (s *Server) waitFor(ctx context.Context, revision uint64) error {
	ctx, cancel := context.WithTimeout(ctx, freshnessWait)
	defer cancel()
	for {
		changed := s.store.Changed()
		current := s.store.current()
		if current >= revision {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			err := apierrors.NewTimeoutError(fmt.Sprintf("Too large resource version: %d, current: %d", revision, current), freshnessRetry)
			err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseTypeResourceVersionTooLarge, Message: "Too large resource version"}}
			return err
		}
	}
}

// parseRevision reads a resourceVersion; 0 is for "" and "0", which ask for no revision in particular.
func parseRevision(resourceVersion string) (uint64, error) {
	if resourceVersion == "" {
		return 0, nil
	}
	revision, err := strconv.ParseUint(resourceVersion, 10, 64)
	if err != nil {
		return 0, field.Invalid(field.NewPath("resourceVersion"), resourceVersion, err.Error())
	}
	return revision, nil
}

func notServed(req *request) error {
	return apierrors.NewGenericServerResponse(http.StatusNotFound, req.verb, schema.GroupResource{}, "", "", 0, false)
}

func errNotAcceptable(req *request) error {
	accepted := "application/json"
	if req.verb == "watch" {
		accepted = "application/json;stream=watch"
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status:  metav1.StatusFailure,
		Code:    http.StatusNotAcceptable,
		Reason:  metav1.StatusReasonNotAcceptable,
		Message: "only the following media types are accepted: " + accepted,
	}}
}

// statusOf is the error as the API tells it.
func statusOf(err error) *metav1.Status {
	var known apierrors.APIStatus
	if !errors.As(err, &known) {
		known = apierrors.NewInternalError(err)
	}
	status := known.Status()
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	return &status
}

func writeError(w http.ResponseWriter, err error) {
	status := statusOf(err)
	if status.Details != nil && status.Details.RetryAfterSeconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(status.Details.RetryAfterSeconds)))
	}
	writeObject(w, int(status.Code), status)
}

func writeObject(w http.ResponseWriter, code int, object any) {
	encoded, err := json.Marshal(object)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeJSON(w, code, encoded)
}

func writeJSON(w http.ResponseWriter, code int, encoded []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(encoded, '\n')) //nolint:gosec // it is JSON and says so; a client that has gone needs no answer
}

func invalidRevision(req *request, err error) error {
	var invalid *field.Error
	errors.As(err, &invalid)
	return apierrors.NewInvalid(schema.GroupKind{Group: req.Group, Kind: req.resource}, req.name, field.ErrorList{invalid})
}
