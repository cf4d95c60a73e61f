package tilt_test

import (
	"fmt"
	"slices"
	"strings"

	"go.starlark.net/starlark"
)

// text is a blob: what Tilt has read. It is no string: it must be made one with str() before it is cut up.
type text string

// opaque is what a builtin returns for another one: a port_forward, or a step of a live update.
type opaque struct {
	builtin string
	call    call
}

// value carries a text or an opaque through Starlark.
type value struct{ any }

func (v value) Type() string          { return fmt.Sprintf("%T", v.any) }
func (v value) String() string        { return fmt.Sprint(v.any) }
func (v value) Freeze()               {}
func (v value) Truth() starlark.Bool  { return true }
func (v value) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable: %s", v.Type()) }

// fits says whether a value is of a kind that signatures names.
func fits(kind string, given any) bool {
	all := func(fit func(any) bool) bool {
		if items, is := given.([]any); is {
			return !slices.ContainsFunc(items, func(item any) bool { return !fit(item) })
		}

		return fit(given)
	}
	isString := func(v any) bool { _, is := v.(string); return is }
	made := func(by ...string) func(any) bool {
		return func(v any) bool { o, is := v.(opaque); return is && slices.Contains(by, o.builtin) }
	}
	switch kind {
	case "any":
		return true
	case "bool":
		_, is := given.(bool)

		return is
	case "int":
		_, is := given.(int)

		return is
	case "dict":
		_, is := given.(map[string]any)

		return is
	case "str":
		return isString(given)
	case "strs":
		return all(isString)
	case "text":
		_, is := given.(text)

		return is || isString(given)
	case "forwards":
		return all(made("port_forward"))
	case "steps":
		return all(made("sync", "run"))
	}
	panic("signatures has a kind that is not known: " + kind)
}

func toGo(v starlark.Value) (any, error) {
	switch v := v.(type) {
	case starlark.NoneType:
		return nil, nil
	case starlark.Bool:
		return bool(v), nil
	case starlark.String:
		return string(v), nil
	case starlark.Int:
		n, err := starlark.AsInt32(v)

		return n, err
	case value:
		return v.any, nil
	case starlark.IterableMapping:
		out := map[string]any{}
		for _, item := range v.Items() {
			key, is := starlark.AsString(item[0])
			if !is {
				return nil, fmt.Errorf("the key %s is no string", item[0])
			}
			element, err := toGo(item[1])
			if err != nil {
				return nil, err
			}
			out[key] = element
		}

		return out, nil
	case starlark.Iterable:
		out := []any{}
		for element := range starlark.Elements(v) {
			item, err := toGo(element)
			if err != nil {
				return nil, err
			}
			out = append(out, item)
		}

		return out, nil
	default:
		return nil, fmt.Errorf("a %s cannot be given to a builtin", v.Type())
	}
}

func toStarlark(v any) starlark.Value {
	switch v := v.(type) {
	case nil:
		return starlark.None
	case bool:
		return starlark.Bool(v)
	case string:
		return starlark.String(v)
	case float64: // as YAML has all its numbers
		return starlark.MakeInt(int(v))
	case []any:
		out := make([]starlark.Value, 0, len(v))
		for _, item := range v {
			out = append(out, toStarlark(item))
		}

		return starlark.NewList(out)
	case map[string]any:
		out := starlark.NewDict(len(v))
		for key, item := range v {
			_ = out.SetKey(starlark.String(key), toStarlark(item)) // strings can be hashed
		}

		return out
	default:
		return value{v}
	}
}

// str is a string or a blob; "" for anything else, and for nothing.
func str(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case text:
		return string(v)
	default:
		return ""
	}
}

// list is a list of strings; one string is a list of it.
func list(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		out := make([]string, 0, len(v))
		for _, item := range v {
			out = append(out, str(item))
		}

		return out
	default:
		return nil
	}
}

// words joins what a command is, whether it is one string or a list.
func words(v any) string { return strings.Join(list(v), " ") }
