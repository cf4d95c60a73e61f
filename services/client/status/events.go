package status

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/evenkeel/evenkeel/services/client/load"
)

const (
	// eventBuffer is how many frames a reader may fall behind: about half a minute
	// of two services.
	eventBuffer = 512
	// eventTimeout is how long a reader may take for one frame.
	eventTimeout = 10 * time.Second
)

// ServeEvents streams the frames of the feed, each a line of JSON: from now on, or with
// ?since=TIME (RFC 3339) those too that began at that time or after it and are still kept.
// A stream that ends as HTTP wants it has ended with the feed; one that is cut off
// has lost frames, because the reader was too slow.
func ServeEvents(feed *load.Feed) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		since := time.Now().Add(load.Memory) // none of those that are kept
		if text := r.FormValue("since"); text != "" {
			var err error
			if since, err = time.Parse(time.RFC3339Nano, text); err != nil {
				http.Error(w, fmt.Sprintf("since: %q is not a time: give one as 2026-01-02T15:04:05.5Z", text), http.StatusBadRequest)

				return
			}
		}
		subscription := feed.SubscribeSince(eventBuffer, since)
		defer subscription.Close()
		w.Header().Set("Content-Type", "application/x-ndjson")
		w.Header().Set("Cache-Control", "no-store")
		control := http.NewResponseController(w)
		// The headers tell the reader that it has subscribed.
		if err := control.Flush(); err != nil {
			return
		}
		encoder := json.NewEncoder(w)
		for {
			select {
			case <-r.Context().Done():
				return
			case frame, ok := <-subscription.Frames:
				if !ok {
					if subscription.Behind() {
						panic(http.ErrAbortHandler)
					}

					return
				}
				// Writers that know no deadlines are those of tests.
				_ = control.SetWriteDeadline(time.Now().Add(eventTimeout))
				if encoder.Encode(frame) != nil || control.Flush() != nil {
					panic(http.ErrAbortHandler)
				}
			}
		}
	})
}
