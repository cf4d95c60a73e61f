package kubernetes

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// watches are the open watches of a run.
type watches struct {
	mu   sync.Mutex
	open map[*stream]struct{}
	flow chan struct{} // closed unless events are held back
}

func newWatches() *watches {
	w := &watches{open: map[*stream]struct{}{}, flow: make(chan struct{})}
	close(w.flow)

	return w
}

// begin is called when a watch is asked for: one that is ended before it is answered ends when it is.
func (w *watches) begin(withState bool) *stream {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &stream{all: w, withState: withState, ended: make(chan struct{}), closed: make(chan struct{})}
	w.open[s] = struct{}{}

	return s
}

// end ends the open watches in good order.
func (w *watches) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for s := range w.open {
		close(s.ended)
	}
	clear(w.open)
}

// hold holds events back until release is called.
func (w *watches) hold() (release func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	held := make(chan struct{})
	w.flow = held

	return func() { close(held) }
}

func (w *watches) flowing() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()

	return w.flow
}

// stream is the body of a watch's answer, which comes in whole events: it can be ended between two of them, as a server
// does. Like the stand-in's, a watch that begins with the state is not ended before all of that was sent.
type stream struct {
	all       *watches
	withState bool // and it was not all sent yet

	ended  chan struct{} // closed when it must end
	closed chan struct{} // closed by Close
	once   sync.Once

	body   io.ReadCloser
	events chan []byte
	failed error  // why there are no more events, once they are closed
	rest   []byte // of the last event
}

// attach gives it the API server's answer.
func (s *stream) attach(body io.ReadCloser, contentType string) error {
	next := jsonEvent
	switch {
	case strings.HasPrefix(contentType, "application/vnd.kubernetes.protobuf"):
		next = protobufEvent
	case !strings.HasPrefix(contentType, "application/json"):
		return fmt.Errorf("watch in the encoding %q, which is neither JSON nor protobuf", contentType)
	}
	s.body, s.events = body, make(chan []byte)
	go func() { // until the body is closed
		defer close(s.events)
		for reader := bufio.NewReader(body); ; {
			event, err := next(reader)
			if err != nil {
				s.failed = err

				return
			}
			select {
			case s.events <- event:
			case <-s.closed:
				return
			}
		}
	}()

	return nil
}

// jsonEvent reads an event: a line.
func jsonEvent(from *bufio.Reader) ([]byte, error) { return from.ReadBytes('\n') }

// protobufEvent reads an event: its length in four bytes, and as many bytes.
func protobufEvent(from *bufio.Reader) ([]byte, error) {
	const head = 4
	length, err := from.Peek(head)
	if err != nil {
		return nil, err
	}
	event := make([]byte, head+int(binary.BigEndian.Uint32(length)))
	_, err = io.ReadFull(from, event)

	return event, err
}

// endOfState marks the bookmark after the state (KEP-3157), and stands in both encodings as it is.
var endOfState = []byte(metav1.InitialEventsAnnotationKey)

// Read reads from one event.
func (s *stream) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		ended := s.ended
		if s.withState {
			ended = nil
		}
		select {
		case event, ok := <-s.events:
			if !ok {
				return 0, s.failed
			}
			s.rest = event
		case <-ended:
			return 0, io.EOF
		}
		select {
		case <-s.all.flowing():
		case <-ended:
			return 0, io.EOF
		case <-s.closed:
			return 0, io.ErrClosedPipe
		}
		s.withState = s.withState && !bytes.Contains(s.rest, endOfState)
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]

	return n, nil
}

// Close ends the request to the API server.
func (s *stream) Close() error {
	s.once.Do(func() { close(s.closed) })
	if s.body == nil {
		return nil
	}

	return s.body.Close()
}

// leave is called when the watch is over, however it ended.
func (s *stream) leave() {
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	delete(s.all.open, s)
}
