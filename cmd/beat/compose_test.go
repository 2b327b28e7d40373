package main

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// What compose itself would check of docker-compose.yml, for machines without
// it: only known keys, nothing named that is not there, each role a service.
func TestCompose(t *testing.T) {
	f, err := os.Open("../../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	type service struct {
		Image       string
		Command     []string
		WorkingDir  string `yaml:"working_dir"`
		Volumes     []string
		Environment map[string]string
		DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
		Restart     string
		Ports       []string
		Healthcheck *struct {
			Test     []string
			Interval string
			Retries  int
		}
	}
	var file struct {
		Name     string
		Base     service `yaml:"x-beat"`
		Services map[string]service
		Volumes  map[string]struct{}
	}
	d := yaml.NewDecoder(f)
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil {
		t.Fatal(err)
	}
	for name, s := range file.Services {
		if s.Image == "" {
			t.Errorf("service %s has no image", name)
		}
		for dep, on := range s.DependsOn {
			other, ok := file.Services[dep]
			if !ok {
				t.Errorf("service %s depends on %s, which is not there", name, dep)
			}
			if on.Condition == "service_healthy" && other.Healthcheck == nil {
				t.Errorf("service %s waits for the health of %s, which has no check", name, dep)
			}
		}
		for _, v := range s.Volumes {
			source, _, _ := strings.Cut(v, ":")
			if _, ok := file.Volumes[source]; !ok && !strings.HasPrefix(source, ".") {
				t.Errorf("service %s uses volume %s, which is not declared", name, source)
			}
		}
	}
	for _, role := range roles {
		s, ok := file.Services[role]
		if !ok || !slices.Equal(s.Command, []string{"go", "run", "./cmd/beat", "run", role}) {
			t.Errorf("role %s is not a service of its own: %v", role, s.Command)
		}
	}
	for _, server := range []string{"postgres", "nats", "redis", "rabbitmq"} {
		if _, ok := file.Services[server]; !ok {
			t.Errorf("server %s is missing; there are %v", server, slices.Sorted(maps.Keys(file.Services)))
		}
	}
}
