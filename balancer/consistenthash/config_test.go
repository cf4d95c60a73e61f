package consistenthash_test

import (
	"encoding/json"
	"strings"
	"testing"

	"google.golang.org/grpc/balancer"
)

func parse(text string) error {
	_, err := balancer.Get("consistent_hash").(balancer.ConfigParser).ParseConfig(json.RawMessage(text))
	return err
}

func TestAConfigIsAccepted(t *testing.T) {
	for _, text := range []string{
		`{}`,
		` { "requestHashHeader" : "x-user-id" } `,
		`{"requestHashHeader": "0_x.y-z"}`,
		`{"loadFactor": 0}`,
		`{"loadFactor": 0.0}`,
		`{"loadFactor": 1.0001}`,
		`{"loadFactor": 1.1}`,
		`{"loadFactor": 125e-2}`,
		`{"loadFactor": 999.9999}`,
		`{"loadFactor": 1000}`,
		`{"missingKey": "error"}`,
		`{"missingKey": "random"}`,
		`{"minCapacity": 0}`,
		`{"minCapacity": 1000000}`,
		`{"virtualNodes": 1}`,
		`{"virtualNodes": 4096}`,
	} {
		if err := parse(text); err != nil {
			t.Errorf("ParseConfig(%s): %v", text, err)
		}
	}
}

func TestAConfigIsRefusedWithTheFieldTheValueAndWhatIsAccepted(t *testing.T) {
	const (
		factors = "want 0 (no bound) or a number above 1, at most 1000, of at most four decimals"
		names   = `want the name of a request header such as "x-user-id", of the characters a-z 0-9 . - _`
		own     = `want a text header of your own: names that begin with "grpc-" or end with "-bin" are not accepted`
	)
	for text, want := range map[string]string{
		``:                                     "config is empty: want a JSON object",
		`null`:                                 "config is null: want a JSON object",
		`[]`:                                   "config is []: want a JSON object",
		"{\n\"loadFactor\":":                   `config is { "loadFactor":: want a JSON object`,
		`{"loadfactor": 2}`:                    `unknown field "loadfactor": want loadFactor, minCapacity, missingKey, requestHashHeader or virtualNodes`,
		`{"loadFactor": 1}`:                    "loadFactor is 1: " + factors,
		`{"loadFactor": 0.5}`:                  "loadFactor is 0.5: " + factors,
		`{"loadFactor": -1.25}`:                "loadFactor is -1.25: " + factors,
		`{"loadFactor": 1000.5}`:               "loadFactor is 1000.5: " + factors,
		`{"loadFactor": 1e999}`:                "loadFactor is 1e999: " + factors,
		`{"loadFactor": 1.00001}`:              "loadFactor is 1.00001: " + factors,
		`{"loadFactor": "1.25"}`:               `loadFactor is "1.25": ` + factors,
		`{"loadFactor": null}`:                 "loadFactor is null: " + factors,
		`{"loadFactor": {"a":  [1,` + "\n2]}}": `loadFactor is {"a":[1,2]}: ` + factors,
		`{"missingKey": "ignore"}`:             `missingKey is "ignore": want "error" or "random"`,
		`{"missingKey": true}`:                 `missingKey is true: want "error" or "random"`,
		`{"requestHashHeader": ""}`:            `requestHashHeader is "": ` + names,
		`{"requestHashHeader": 7}`:             "requestHashHeader is 7: " + names,
		`{"requestHashHeader": null}`:          "requestHashHeader is null: " + names,
		`{"requestHashHeader": "X-User"}`:      `requestHashHeader is "X-User": ` + names,
		`{"requestHashHeader": ":path"}`:       `requestHashHeader is ":path": ` + names,
		`{"requestHashHeader": "a b"}`:         `requestHashHeader is "a b": ` + names,
		`{"requestHashHeader": "x-key-bin"}`:   `requestHashHeader is "x-key-bin": ` + own,
		`{"requestHashHeader": "grpc-tags"}`:   `requestHashHeader is "grpc-tags": ` + own,
		`{"minCapacity": -1}`:                  "minCapacity is -1: want a whole number from 0 to 1000000",
		`{"minCapacity": 1.5}`:                 "minCapacity is 1.5: want a whole number from 0 to 1000000",
		`{"virtualNodes": 0}`:                  "virtualNodes is 0: want a whole number from 1 to 4096",
		`{"virtualNodes": 4097}`:               "virtualNodes is 4097: want a whole number from 1 to 4096",
		`{"missingKey": "` + strings.Repeat("x", 100) + `"}`: `missingKey is "` + strings.Repeat("x", 79) + `...: want "error" or "random"`,
	} {
		err := parse(text)
		if err == nil {
			t.Errorf("ParseConfig(%s) accepted it", text)
			continue
		}
		if got := err.Error(); got != "consistent_hash: "+want {
			t.Errorf("ParseConfig(%s):\n got %s\nwant consistent_hash: %s", text, got, want)
		}
	}
}

func FuzzServiceConfig(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `[1]`, `{"loadFactor": 1.1}`, `{"loadFactor": -0}`, `{"loadFactor": 1e400}`, `{"loadFactor": 1.0001, "minCapacity": 3}`,
		`{"requestHashHeader": "x-user-id", "missingKey": "random"}`, `{"requestHashHeader": ":authority"}`,
		`{"virtualNodes": 4096}`, `{"virtualNodes": 1e3, "virtualNodes": 2}`, "{\"\\u006coadFactor\": 0}", "{\"a\xff\": 0}",
	} {
		f.Add([]byte(seed))
	}
	endpoints := endpointsAt(addresses(3)...)
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := parse(string(text)); err != nil {
			if strings.ContainsAny(err.Error(), "\r\n") {
				t.Fatalf("the error for %q is more than one line: %q", text, err)
			}
			return
		}
		c := newChannel(t, "consistent_hash")
		c.update(t, string(text), endpoints...)
		for range 10 {
			if _, _, err := pickFrom(withKey("k"), c.state().Picker); err != nil {
				t.Fatalf("config %s: pick: %v", text, err)
			}
		}
	})
}
