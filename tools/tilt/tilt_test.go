// Package tilt_test holds the Tiltfile to the manifests, without Tilt: it executes it with builtins that record what
// they are told, and renders the manifests for real. What Tilt then does with it is not tested: see README.md.
package tilt_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
	"go.starlark.net/syntax"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// root is the repository.
var root, _ = filepath.Abs("../..")

// signatures are the parameters of Tilt's builtins as its reference has them (https://docs.tilt.dev/api.html), with what
// they take. An argument that is not here is refused, and so is a builtin.
var signatures = map[string]string{
	"allow_k8s_contexts":   "contexts strs",
	"config.define_string": "name str, args? bool, usage? str",
	"config.parse":         "",
	"decode_yaml_stream":   "yaml text",
	"docker_build": "ref str, context str, build_args? dict, dockerfile? str, dockerfile_contents? text, live_update? steps, " +
		"match_in_env_vars? bool, ignore? strs, only? strs, entrypoint? strs, target? str, ssh? strs, network? str, secret? strs, " +
		"extra_tag? strs, container_args? strs, cache_from? strs, pull? bool, platform? str",
	"encode_yaml": "obj any",
	"fail":        "msg str",
	"k8s_context": "",
	"k8s_resource": "workload? str, new_name? str, port_forwards? forwards, extra_pod_selectors? dict, trigger_mode? str, " +
		"resource_deps? strs, objects? strs, auto_init? bool, pod_readiness? str, links? strs, labels? strs, discovery_strategy? str",
	"k8s_yaml":  "yaml text, allow_duplicates? bool",
	"kustomize": "pathToDir str, kustomize_bin? str, flags? strs",
	"listdir":   "directory str, recursive? bool",
	"local":     "command strs, quiet? bool, command_bat? strs, echo_off? bool, env? dict, dir? str, stdin? text",
	"local_resource": "name str, cmd strs, deps? strs, trigger_mode? str, resource_deps? strs, ignore? strs, auto_init? bool, " +
		"serve_cmd? strs, cmd_bat? strs, serve_cmd_bat? strs, allow_parallel? bool, links? strs, tags? strs, env? dict, " +
		"serve_env? dict, readiness_probe? any, dir? str, serve_dir? str, labels? strs",
	"os.path.basename": "path str",
	"os.path.dirname":  "path str",
	"port_forward":     "local_port int, container_port? int, name? str, link_path? str, host? str",
	"read_file":        "file_path str, default? str",
	"run":              "cmd strs, trigger? strs",
	"shlex.quote":      "s str",
	"sync":             "local_path str, remote_path str",
	"version_settings": "check_updates? bool, constraint? str",
}

// call is one of a builtin, with the arguments that it was given, as Go values: string, int, bool, []any or
// map[string]any; text is a blob.
type call map[string]any

// tilt executes the Tiltfile.
type tilt struct {
	context string            // of kubectl
	nodes   string            // their architectures, with spaces between them
	args    map[string]string // what is behind the -- of `tilt up`

	files   filesys.FileSystem // the manifests, and what is written
	calls   map[string][]call  // of each builtin, in order
	applied []map[string]any   // by k8s_yaml
	defined []string           // by config.define_string
}

// up is `tilt up` on a cluster of kind.
func up(t *testing.T, args ...string) *tilt {
	t.Helper()
	tl := prepare(t, args...)
	if err := tl.execute(); err != nil {
		t.Fatalf("tilt up -- %s: %v", strings.Join(args, " "), err)
	}

	return tl
}

func prepare(t *testing.T, args ...string) *tilt {
	t.Helper()
	tl := &tilt{context: "kind-evenkeel", nodes: "riscv64 riscv64", args: map[string]string{}, files: filesys.MakeFsInMemory(), calls: map[string][]call{}}
	for _, arg := range args {
		name, value, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		tl.args[name] = value
	}
	for _, dir := range []string{"deploy", "kustomize", "tools/tilt"} {
		err := fs.WalkDir(os.DirFS(root), dir, func(file string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			text, err := os.ReadFile(filepath.Join(root, file))

			return errors.Join(err, tl.files.WriteFile("/"+file, text))
		})
		if err != nil {
			t.Fatal(err)
		}
	}

	return tl
}

// execute runs the Tiltfile.
func (tl *tilt) execute() error { return tl.run(nil) }

// run takes a source in the place of it, unless that is nil. The dialect is the one that Tilt takes.
func (tl *tilt) run(source any) error {
	predeclared := starlark.StringDict{"TRIGGER_MODE_MANUAL": starlark.String("manual")}
	modules := map[string]starlark.StringDict{}
	for name, signature := range signatures {
		builtin := tl.builtin(name, signature)
		if module, member, has := cutLast(name); has {
			if modules[module] == nil {
				modules[module] = starlark.StringDict{}
			}
			modules[module][member] = builtin
		} else {
			predeclared[name] = builtin
		}
	}
	for name, members := range modules {
		if outer, inner, has := cutLast(name); has {
			name, members = outer, starlark.StringDict{inner: &starlarkstruct.Module{Name: inner, Members: members}}
		}
		predeclared[name] = &starlarkstruct.Module{Name: name, Members: members}
	}
	dialect := &syntax.FileOptions{Set: true, GlobalReassign: true, TopLevelControl: true, Recursion: true}
	_, err := starlark.ExecFileOptions(dialect, &starlark.Thread{}, filepath.Join(root, "Tiltfile"), source, predeclared)

	return err
}

func cutLast(name string) (module, member string, has bool) {
	at := strings.LastIndex(name, ".")

	return name[:max(at, 0)], name[at+1:], at > 0
}

// builtin records the call, and does what little of it there is to do.
func (tl *tilt) builtin(name, signature string) *starlark.Builtin {
	var names, kinds []string
	for parameter := range strings.SplitSeq(signature, ", ") {
		if word, kind, has := strings.Cut(parameter, " "); has {
			names, kinds = append(names, word), append(kinds, kind)
		}
	}

	return starlark.NewBuiltin(name, func(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		values := make([]starlark.Value, len(names))
		var pairs []any
		for i := range names {
			pairs = append(pairs, names[i], &values[i])
		}
		if err := starlark.UnpackArgs(name, args, kwargs, pairs...); err != nil {
			return nil, err
		}
		c := call{}
		for i, value := range values {
			if value == nil {
				continue
			}
			word := strings.TrimSuffix(names[i], "?")
			given, err := toGo(value)
			if err == nil && !fits(kinds[i], given) {
				err = fmt.Errorf("got %s, want %s", value.Type(), kinds[i])
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", name, word, err)
			}
			c[word] = given
		}
		tl.calls[name] = append(tl.calls[name], c)
		answer, err := tl.do(name, c)
		if err != nil {
			return nil, err
		}

		return toStarlark(answer), nil
	})
}

// do is what a builtin does, and returns what it answers.
func (tl *tilt) do(name string, c call) (any, error) {
	switch name {
	case "fail":
		return nil, errors.New(str(c["msg"]))
	case "k8s_context":
		return tl.context, nil
	case "config.define_string":
		tl.defined = append(tl.defined, str(c["name"]))
	case "config.parse":
		out := map[string]any{}
		for arg, value := range tl.args {
			if !slices.Contains(tl.defined, arg) {
				return nil, fmt.Errorf("unknown flag: --%s", arg)
			}
			out[arg] = value
		}

		return out, nil
	case "listdir":
		return tl.list(str(c["directory"]), c["recursive"] == true)
	case "read_file":
		content, err := tl.files.ReadFile("/" + str(c["file_path"]))
		if fallback, has := c["default"]; has && err != nil {
			return text(str(fallback)), nil
		}

		return text(content), err
	case "local":
		return tl.local(c)
	case "encode_yaml":
		out, err := yaml.Marshal(c["obj"])

		return text(out), err
	case "decode_yaml_stream":
		return documents(str(c["yaml"]))
	case "kustomize":
		return tl.kustomize(str(c["pathToDir"]))
	case "k8s_yaml":
		return nil, tl.apply(c)
	case "os.path.basename":
		return path.Base(str(c["path"])), nil
	case "os.path.dirname":
		return path.Dir(str(c["path"])), nil
	case "shlex.quote":
		return "'" + strings.ReplaceAll(str(c["s"]), "'", `'"'"'`) + "'", nil
	case "port_forward", "sync", "run":
		return opaque{name, c}, nil
	}

	return nil, nil
}

// local answers the few commands that the Tiltfile runs by itself.
func (tl *tilt) local(c call) (any, error) {
	switch command := list(c["command"]); {
	case slices.Equal(command, []string{"kubectl", "--context", tl.context, "get", "nodes", "-o", "jsonpath={.items[*].status.nodeInfo.architecture}"}):
		return text(tl.nodes), nil
	case len(command) == 3 && command[0] == "mkdir" && command[1] == "-p":
		return text(""), tl.files.MkdirAll("/" + command[2])
	case len(command) == 2 && command[0] == "tee":
		return c["stdin"], tl.files.WriteFile("/"+command[1], []byte(str(c["stdin"])))
	default:
		return nil, fmt.Errorf("local: %q is not a command that this test knows", command)
	}
}

// list has full paths, and of files alone.
func (tl *tilt) list(dir string, recursive bool) (any, error) {
	var found []any
	err := tl.files.Walk("/"+dir, func(file string, info fs.FileInfo, err error) error {
		if err == nil && !info.IsDir() && (recursive || path.Dir(file) == "/"+dir) {
			found = append(found, root+file)
		}

		return err
	})

	return found, err
}

// rendered has what is the same each time.
var rendered = map[string]text{}

func (tl *tilt) kustomize(dir string) (any, error) {
	if out, done := rendered[dir]; done {
		return out, nil
	}
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(tl.files, "/"+dir)
	if err != nil {
		return nil, fmt.Errorf("kustomize: %s: %w", dir, err)
	}
	out, err := resources.AsYaml()
	if err == nil && !strings.HasPrefix(dir, ".") {
		rendered[dir] = text(out)
	}

	return text(out), err
}

// apply refuses an object that was there before, unless told, as Tilt does.
func (tl *tilt) apply(c call) error {
	objects, err := documents(str(c["yaml"]))
	if err != nil {
		return err
	}
	for _, o := range objects {
		object := o.(map[string]any)
		if slices.ContainsFunc(tl.applied, func(there map[string]any) bool { return identity(there) == identity(object) }) {
			if c["allow_duplicates"] != true {
				return fmt.Errorf("k8s_yaml: %s is there twice", identity(object))
			}

			continue
		}
		tl.applied = append(tl.applied, object)
	}

	return nil
}

func identity(object map[string]any) string {
	metadata := object["metadata"].(map[string]any)

	return fmt.Sprint(object["apiVersion"], " ", object["kind"], " ", metadata["namespace"], "/", metadata["name"])
}

func documents(stream string) ([]any, error) {
	var out []any
	for document := range strings.SplitSeq(stream, "\n---\n") {
		var object map[string]any
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			return nil, err
		}
		out = append(out, object)
	}

	return out, nil
}
