package apiserver

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/uuid"
)

// Object is any Kubernetes API object (k8s.io/api types, pointers).
type Object interface {
	metav1.Object
	runtime.Object
}

// logLength bounds the changes that a watch can still start from. A watch from before them gets 410 Gone, as from
// a real server whose watch cache has moved on.
const logLength = 4096

// Store holds the objects, and the latest changes to them for watches to follow. It is safe for concurrent use.
//
// What goes in and comes out are copies, without TypeMeta, as client-go's typed clients return them.
type Store struct {
	mu        sync.RWMutex
	revision  uint64
	objects   map[*kind]map[key]*stored
	log       []change // by ascending revision, one each
	forgotten uint64   // revision of the latest change that is no longer in the log
	changed   chan struct{}
}

type key struct{ namespace, name string }

// stored is one version of an object. It never changes, so readers share it without a lock.
type stored struct {
	object  Object
	encoded []byte // JSON, without kind and apiVersion: so do the items of a list
}

// change is what one revision did: before is nil for a new object, after is nil for a deleted one.
type change struct {
	revision      uint64
	kind          *kind
	before, after *stored
}

// NewStore returns an empty store. Its revision starts at 1, as etcd's does.
func NewStore() *Store {
	return &Store{
		revision:  1,
		forgotten: 1,
		objects:   make(map[*kind]map[key]*stored),
		changed:   make(chan struct{}),
	}
}

// Put creates or replaces an object. It keeps a copy, and owns three fields of it whatever the caller set: UID and
// CreationTimestamp (given when the object is new) and ResourceVersion (one counter for the whole store, as etcd's
// revision). If nothing else differs from what is stored (in JSON, so times differ by whole seconds), there is no
// new version and no event.
//
// The last Put wins. Where another writer may change the same object, use [Update].
//
// It fails for a kind that is not served, and for a name or a namespace that the kind cannot have.
func (s *Store) Put(obj Object) error {
	k, err := accept(obj)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.put(k, copyOf(obj))
}

// Get returns a copy of the object; namespace is "" for cluster-scoped kinds.
func Get[T Object](s *Store, namespace, name string) (T, bool) {
	var none T
	found, ok := theObject[T](s, namespace, name)
	if !ok {
		return none, false
	}
	return copyOf(found), true
}

// List returns copies of the objects of one namespace, or of all for "", sorted by namespace and name.
func List[T Object](s *Store, namespace string) []T {
	list := everyObject[T](s, namespace)
	for i, each := range list {
		list[i] = copyOf(each)
	}
	return list
}

// Update changes an object in place, with no other writer in between: what Get, change and Put cannot promise. It
// reports whether the object exists. The change function must not use the store.
func Update[T Object](s *Store, namespace, name string, change func(T)) (bool, error) {
	k := kindFor[T]()
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.objects[k][key{namespace, name}]
	if found == nil {
		return false, nil
	}
	obj := copyOf(objectOf[T](found))
	change(obj)
	if obj.GetNamespace() != namespace || obj.GetName() != name {
		return true, fmt.Errorf("%s %s/%s: an update must not rename it to %s/%s", k.name, namespace, name, obj.GetNamespace(), obj.GetName())
	}
	return true, s.put(k, obj)
}

// Delete removes the object at once (no finalizers, no grace period, no cascade) and reports whether it was there.
func Delete[T Object](s *Store, namespace, name string) bool {
	k := kindFor[T]()
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.objects[k][key{namespace, name}]
	if found == nil {
		return false
	}
	delete(s.objects[k], key{namespace, name})
	s.record(change{revision: s.revision + 1, kind: k, before: found})
	return true
}

// Changed returns a channel that is closed at the next change of anything. Take it BEFORE reading, then wait on it:
// so no change between the two is missed.
func (s *Store) Changed() <-chan struct{} {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.changed
}

// copyOf returns a copy, which has the type of its original.
func copyOf[T Object](obj T) T {
	duplicate, _ := obj.DeepCopyObject().(T)
	return duplicate
}

// objectOf returns the object of a version. Under a kind, there are only objects of its type.
func objectOf[T Object](version *stored) T {
	object, _ := version.object.(T)
	return object
}

func accept(obj Object) (*kind, error) {
	if v := reflect.ValueOf(obj); !v.IsValid() || v.IsNil() {
		return nil, errors.New("there is no object to put: it is nil")
	}
	k := kindOfType[reflect.TypeOf(obj)]
	if k == nil {
		return nil, fmt.Errorf("%T is not served: %s are", obj, kindNames())
	}
	if obj.GetName() == "" {
		return nil, fmt.Errorf("%s in namespace %q has no name", k.name, obj.GetNamespace())
	}
	for _, part := range []string{obj.GetName(), obj.GetNamespace()} {
		if wrong := content.IsPathSegmentName(part); len(wrong) > 0 {
			return nil, fmt.Errorf("%s %q in namespace %q: %q %s", k.name, obj.GetName(), obj.GetNamespace(), part, wrong[0])
		}
	}
	switch {
	case k.namespaced && obj.GetNamespace() == "":
		return nil, fmt.Errorf("%s %q has no namespace and needs one", k.name, obj.GetName())
	case !k.namespaced && obj.GetNamespace() != "":
		return nil, fmt.Errorf("%s %q is in namespace %q, but its kind is cluster-scoped", k.name, obj.GetName(), obj.GetNamespace())
	}
	return k, nil
}

func kindNames() string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.name
	}
	return strings.Join(names, ", ")
}

// put takes over obj. The caller holds the lock.
func (s *Store) put(k *kind, obj Object) error {
	at := key{obj.GetNamespace(), obj.GetName()}
	before := s.objects[k][at]
	if before == nil {
		obj.SetUID(uuid.NewUUID())
		obj.SetCreationTimestamp(metav1.Now().Rfc3339Copy())
	} else {
		obj.SetUID(before.object.GetUID())
		obj.SetCreationTimestamp(before.object.GetCreationTimestamp())
		obj.SetResourceVersion(before.object.GetResourceVersion())
		same, err := encode(obj)
		if err != nil {
			return fmt.Errorf("%s %s/%s: %w", k.name, at.namespace, at.name, err)
		}
		if string(same.encoded) == string(before.encoded) {
			return nil
		}
	}
	revision := s.revision + 1
	obj.SetResourceVersion(strconv.FormatUint(revision, 10))
	after, err := encode(obj)
	if err != nil {
		return fmt.Errorf("%s %s/%s: %w", k.name, at.namespace, at.name, err)
	}
	if s.objects[k] == nil {
		s.objects[k] = make(map[key]*stored)
	}
	s.objects[k][at] = after
	s.record(change{revision: revision, kind: k, before: before, after: after})
	return nil
}

func encode(obj Object) (*stored, error) {
	obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	encoded, err := json.Marshal(obj)
	if err != nil {
		return nil, fmt.Errorf("encode as JSON: %w", err)
	}
	return &stored{object: obj, encoded: encoded}, nil
}

// record makes a change the newest one and wakes whoever waits. The caller holds the lock.
func (s *Store) record(c change) {
	s.revision = c.revision
	if len(s.log) == 2*logLength {
		s.forgotten = s.log[logLength-1].revision
		s.log = slices.Clone(s.log[logLength:])
	}
	s.log = append(s.log, c)
	close(s.changed)
	s.changed = make(chan struct{})
}

// sorted returns the objects of one namespace, or of all for "", by namespace and name.
func sorted(objects map[key]*stored, namespace string) []*stored {
	var found []*stored
	for at, each := range objects {
		if namespace == "" || at.namespace == namespace {
			found = append(found, each)
		}
	}
	slices.SortFunc(found, func(a, b *stored) int {
		return cmp.Or(
			strings.Compare(a.object.GetNamespace(), b.object.GetNamespace()),
			strings.Compare(a.object.GetName(), b.object.GetName()))
	})
	return found
}
