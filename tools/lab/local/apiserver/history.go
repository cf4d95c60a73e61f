package apiserver

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/watch"
)

// Compact forgets all changes so far, as etcd's compaction does: a watch, or a list of an exact version, from before
// now gets 410 Gone.
func (s *Store) Compact() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log, s.forgotten = nil, s.revision
}

func (s *Store) current() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.revision
}

func (s *Store) get(k *kind, namespace, name string) *stored {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.objects[k][key{namespace, name}]
}

// list returns what is stored now, by namespace and name, and the revision that this is.
func (s *Store) list(k *kind, namespace string) ([]*stored, uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return sorted(s.objects[k], namespace), s.revision
}

// everyObject and theObject share what is stored instead of copying it: this package only reads it.
func everyObject[T Object](s *Store, namespace string) []T {
	found, _ := s.list(kindFor[T](), namespace)
	objects := make([]T, len(found))
	for i, each := range found {
		objects[i] = objectOf[T](each)
	}
	return objects
}

func theObject[T Object](s *Store, namespace, name string) (T, bool) {
	found := s.get(kindFor[T](), namespace, name)
	if found == nil {
		var none T
		return none, false
	}
	return objectOf[T](found), true
}

// listAt returns what was stored at a revision, by undoing the changes since. It fails with 410 Expired if those are
// no longer known.
func (s *Store) listAt(k *kind, namespace string, revision uint64) ([]*stored, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if revision < s.forgotten {
		return nil, apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: %d", revision))
	}
	objects := maps.Clone(s.objects[k])
	for _, c := range slices.Backward(s.log) {
		if c.revision <= revision {
			break
		}
		switch {
		case c.kind != k:
		case c.before == nil:
			delete(objects, keyOf(c.after))
		default:
			objects[keyOf(c.before)] = c.before
		}
	}
	return sorted(objects, namespace), nil
}

// since returns the changes of a kind after a revision, and the revision that they lead to. It fails with 410 Expired
// if the log no longer reaches back to there.
func (s *Store) since(k *kind, revision uint64) ([]change, uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if revision < s.forgotten {
		return nil, 0, apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: %d (%d)", revision, s.forgotten))
	}
	first := sort.Search(len(s.log), func(i int) bool { return s.log[i].revision > revision })
	var changes []change
	for _, c := range s.log[first:] {
		if c.kind == k {
			changes = append(changes, c)
		}
	}
	return changes, max(revision, s.revision), nil
}

func keyOf(o *stored) key {
	return key{o.object.GetNamespace(), o.object.GetName()}
}

// selection is what of a kind a request is about.
type selection struct {
	namespace string // "" is all
	labels    labels.Selector
	fields    fields.Selector // on metadata.name and metadata.namespace
}

func (sel selection) matches(o *stored) bool {
	if o == nil || sel.namespace != "" && o.object.GetNamespace() != sel.namespace {
		return false
	}
	return sel.labels.Matches(labels.Set(o.object.GetLabels())) &&
		sel.fields.Matches(fields.Set{"metadata.name": o.object.GetName(), "metadata.namespace": o.object.GetNamespace()})
}

// event is what a change looks like to a watch of a selection, with the object as JSON; its type is "" for a change
// outside the selection. An object that comes to match is ADDED, and one that no longer does is DELETED, in its last
// matching state but with the resourceVersion of the change, so that a client can go on from there.
func (c change) event(sel selection) (watch.EventType, []byte, error) {
	was, is := sel.matches(c.before), sel.matches(c.after)
	switch {
	case is && was:
		return watch.Modified, c.kind.typed(c.after.encoded), nil
	case is:
		return watch.Added, c.kind.typed(c.after.encoded), nil
	case was:
		last := copyOf(c.before.object)
		last.SetResourceVersion(strconv.FormatUint(c.revision, 10))
		encoded, err := encode(last)
		if err != nil {
			return "", nil, err
		}
		return watch.Deleted, c.kind.typed(encoded.encoded), nil
	}
	return "", nil, nil
}
