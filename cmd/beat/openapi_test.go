package main

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"go.yaml.in/yaml/v3"
)

// beat openapi prints one document, as JSON and as YAML, without any server.
func TestOpenAPICommand(t *testing.T) {
	t.Parallel()
	var asJSON, asYAML, errs bytes.Buffer
	if code := run(t.Context(), []string{"openapi"}, &asJSON, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, &errs)
	}
	if code := run(t.Context(), []string{"openapi", "--yaml"}, &asYAML, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, &errs)
	}
	var want, again any
	if err := json.Unmarshal(asJSON.Bytes(), &want); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(asYAML.Bytes(), &again); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(again) // for the types of numbers
	if err != nil {
		t.Fatal(err)
	}
	var got any
	if err := json.Unmarshal(b, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("YAML and JSON say different things, %v", err)
	}
	if bytes.Contains(asYAML.Bytes(), []byte(`{"`)) || !bytes.HasPrefix(asYAML.Bytes(), []byte("openapi: 3.1.0\n")) {
		t.Errorf("it is no plain YAML: %.200s", &asYAML)
	}
	if code := run(t.Context(), []string{"openapi", "--yaml", "--json"}, &asYAML, &errs); code != 2 {
		t.Errorf("--yaml --json: exit code %d, want 2", code)
	}
}
