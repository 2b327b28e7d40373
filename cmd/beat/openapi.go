package main

import (
	"bytes"
	"fmt"

	"go.yaml.in/yaml/v3"

	"beat/gateway"
)

type openAPICmd struct {
	YAML bool `help:"Print YAML instead of JSON." name:"yaml"`
}

func (openAPICmd) Help() string {
	return `Prints the OpenAPI 3.1 document of this build, which a running gateway serves as /openapi.json
and, to be read, as /docs. It needs no server.

  beat openapi > openapi.json
  beat openapi --yaml | less`
}

func (c *openAPICmd) Run(g *globals) error {
	if c.YAML && g.JSON {
		return usageError{fmt.Errorf("--yaml and --json exclude each other")}
	}
	doc, err := gateway.OpenAPI(version)
	if err != nil {
		return err
	}
	if c.YAML {
		if doc, err = toYAML(doc); err != nil {
			return err
		}
	}
	_, err = g.stdout.Write(doc)
	return err
}

// toYAML is JSON as YAML, in the same order.
func toYAML(doc []byte) ([]byte, error) {
	var n yaml.Node
	if err := yaml.Unmarshal(doc, &n); err != nil { // JSON is YAML
		return nil, err
	}
	unquoted(&n)
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(&n); err != nil {
		return nil, err
	}
	return b.Bytes(), e.Close()
}

// unquoted takes JSON's braces and quotes away where YAML needs none.
func unquoted(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode || len(n.Content) > 0 {
		n.Style = 0
	}
	for _, c := range n.Content {
		unquoted(c)
	}
}
