package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Outlasts is a behaviour about trouble that only some clusters can be in, such as the death of the server's process.
//
// The function makes the trouble and ends it. When the Service is to change, be it during the trouble or after it, the function
// calls change. The endpoints must stay as they are until then, there must be no storm of requests, and the change
// must be seen at last, with no state without endpoints in between.
func Outlasts(name string, trouble func(ctx context.Context, change func(context.Context) error) error) Behaviour {
	return Behaviour{Name: name, Long: true, drive: func(ctx context.Context, s *stage) error {
		c, err := s.begin(ctx, sliceOf("a", at("10.0.0.1", "10.0.0.2")...), sliceOf("b", at("10.0.0.3")...))
		if err != nil {
			return err
		}
		want := on("10.0.0.1", "10.0.0.2", "10.0.0.3")
		// A resolver may take a watch that is over sooner for a failure, and not resume it.
		if err := c.keeps(ctx, soon, want...); err != nil {
			return err
		}
		c.forget()
		before, start := s.requests.count(), time.Now()

		unchanged, end := context.WithCancel(ctx)
		defer end()
		strayed := make(chan []string, 1)
		go func() {
			defer close(strayed)
			var seen []string
			c.until(unchanged, forever, func() bool {
				if seen = described(c.endpoints); slices.Equal(seen, want) {
					return false
				}
				strayed <- seen

				return true
			})
		}()
		if err := trouble(ctx, func(ctx context.Context) error {
			end()
			if seen, ok := <-strayed; ok {
				return fmt.Errorf("%s, and %s should have stayed", inShort(seen), inShort(want))
			}
			// What a resolver can only learn by a new list, if it does not see it happen: also that a slice is gone.
			return errors.Join(s.service.drop(ctx, "b"), s.service.set(ctx, sliceOf("a", at("10.0.0.2", "10.0.0.4")...)))
		}); err != nil {
			return err
		}
		if err := c.sees(ctx, recovery, on("10.0.0.2", "10.0.0.4")...); err != nil {
			return err
		}
		minutes := max(1, time.Since(start).Minutes())
		if made := s.requests.count() - before; float64(made) > storm*minutes {
			return fmt.Errorf("%d requests in %.1f minutes", made, minutes)
		}

		return c.stayed()
	}}
}

// forever is longer than any run.
const forever = 24 * time.Hour
