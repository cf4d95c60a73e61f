package live

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// writeTimeout is how long a page may take for one update.
const writeTimeout = 10 * time.Second

// ServeStream answers with updates as server-sent events: all that is kept first, then once a
// second what is new. A page that connects again says with Last-Event-ID what it has.
func (h *Hub) ServeStream() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !h.enter() {
			w.Header().Set("Retry-After", "5")
			http.Error(w, fmt.Sprintf("%d pages are open already", maxReaders), http.StatusServiceUnavailable)

			return
		}
		defer h.leave()
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Accel-Buffering", "no") // nginx would keep them back
		control := http.NewResponseController(w)
		for version := h.versionOf(r.Header.Get("Last-Event-ID")); ; {
			news, closed := h.next()
			if closed {
				return
			}
			var update Update
			update, version = h.since(version)
			text, err := json.Marshal(update)
			if err != nil {
				return
			}
			// Writers that know no deadlines are those of tests.
			_ = control.SetWriteDeadline(time.Now().Add(writeTimeout))
			_, err = fmt.Fprintf(w, "id: %s-%d\ndata: %s\n\n", h.epoch, version, text) //nolint:gosec // JSON, which is no HTML, on one line
			if err != nil || control.Flush() != nil {
				return
			}
			select {
			case <-r.Context().Done():
				return
			case <-news:
			}
		}
	})
}

// versionOf is the version that an id names; 0 if it is of another process, or of none.
func (h *Hub) versionOf(id string) int64 {
	epoch, number, _ := strings.Cut(id, "-")
	version, err := strconv.ParseInt(number, 10, 64)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil || epoch != h.epoch || version < 0 || version > h.version {
		return 0
	}

	return version
}

// next is closed when there is more; closed says that there never will be.
func (h *Hub) next() (news <-chan struct{}, closed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()

	return h.news, h.closed
}

func (h *Hub) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.readers >= maxReaders {
		return false
	}
	h.readers++

	return true
}

func (h *Hub) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.readers--
}
