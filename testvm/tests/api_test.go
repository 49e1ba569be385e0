package tests

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"keelson/testvm/image/cache"
	"keelson/testvm/image/debian"
	"keelson/testvm/image/progress"
	"keelson/testvm/tier"
	"keelson/testvm/vm/vmtest"
)

// getAPI returns what the control API of the guest answers.
func getAPI(t *testing.T, v *vmtest.VM, path string) (*http.Response, string) {
	t.Helper()
	text := v.Output("/containers/services/web/rootfs/testapp", "get", "/run/keelson/control.sock", path)
	response, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), nil)
	if err != nil {
		t.Fatalf("GET %s: %v: %s", path, err, text)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	return response, string(body)
}

// Any program can ask the supervisor by HTTP.
func checkAPI(t *testing.T, v *vmtest.VM) {
	response, text := getAPI(t, v, "/v1/services/redis")
	var service struct {
		Name, State string
		PID         int
	}
	if err := json.Unmarshal([]byte(text), &service); err != nil || response.StatusCode != http.StatusOK ||
		service.Name != "redis" || service.State != "running" || service.PID == 0 {
		t.Errorf("got %s: %s: %v", response.Status, text, err)
	}
	response, text = getAPI(t, v, "/v1/logs?name=onboot.000-first&grep=out")
	if !strings.Contains(text, `"name":"onboot.000-first","stream":"stdout","text":"first out"`) || strings.Count(text, "\n") != 1 || response.StatusCode != http.StatusOK {
		t.Errorf("got %s: %s", response.Status, text)
	}
	response, text = getAPI(t, v, "/v1/logs?name=onboot.000-first&boot=-1")
	if response.StatusCode != http.StatusNotFound || !strings.Contains(text, "no such boot is kept") { // /var is in memory.
		t.Errorf("got %s: %s", response.Status, text)
	}
	response, text = getAPI(t, v, "/v1/boots")
	if response.StatusCode != http.StatusOK || !strings.HasPrefix(text, `{"boots":[{"boot":0,"id":"`) || strings.Count(text, `"boot":`) != 1 {
		t.Errorf("got %s: %s", response.Status, text)
	}
	response, text = getAPI(t, v, "/v1/services/none")
	if response.StatusCode != http.StatusNotFound || response.Header.Get("Content-Type") != "application/problem+json" || !strings.Contains(text, "no such service: none") {
		t.Errorf("got %s: %s", response.Status, text)
	}
}

// Prometheus reads the metrics of the guest.
func checkMetrics(t *testing.T, v *vmtest.VM) {
	response, text := getAPI(t, v, "/metrics")
	media := response.Header.Get("Content-Type")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", media)
		_, _ = io.WriteString(w, text)
	}))
	defer server.Close()
	ask := scrape(t, server.Listener.Addr().String())
	for query, want := range map[string]string{
		`up`:                                   "1",
		`keelson_service_up{service="redis"}`:  "1",
		`keelson_service_ready{service="web"}`: "1",
		`keelson_service_restarts_total{service="redis"}`:                   "0",
		`keelson_service_log_bytes_total{service="redis"} > bool 100`:       "1",
		`keelson_service_log_lost_bytes_total{service="redis"}`:             "0",
		`keelson_service_cpu_seconds_total{service="redis"} > bool 0`:       "1",
		`keelson_service_memory_bytes{service="redis"} > bool 1e6`:          "1",
		`keelson_service_processes{service="web"} > bool 0`:                 "1",
		`count(keelson_process_cpu_seconds_total{process="supervisor"})`:    "1",
		`count(keelson_process_cpu_seconds_total{process="containerd"})`:    "1",
		`count(keelson_process_cpu_seconds_total{process="shim"}) > bool 3`: "1",
		`count(keelson_boot_stage_seconds{stage="onboot"})`:                 "4",
		`count(keelson_boot_stage_duration_seconds{stage="onboot"})`:        "4",
	} {
		if got := ask(query); got != want {
			t.Errorf("%s is %q, want %s", query, got, want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

// scrape lets Debian's Prometheus read the metrics at an address, and returns a function
// that asks it for a value.
func scrape(t *testing.T, address string) (ask func(query string) string) {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "prometheus")
	caches, err := cache.Dir()
	if err != nil {
		t.Fatal(err)
	}
	archive := &debian.Archive{Arch: runtime.GOARCH, CacheDir: caches, Progress: progress.Discard}
	data, err := archive.Member(t.Context(), "prometheus", "usr/bin/prometheus")
	if err != nil {
		tier.Skip(t, "needs Prometheus of Debian's archive: %v", err)
	}
	if err := os.WriteFile(program, data, 0o755); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("scrape_configs: [{job_name: keelson, scrape_interval: 1s, static_configs: [{targets: [%q]}]}]\n", address)
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen := free.Addr().String()
	free.Close()
	ctx, cancel := context.WithCancel(t.Context())
	command := exec.CommandContext(ctx, program, "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+listen)
	var log strings.Builder
	command.Stdout, command.Stderr = &log, &log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = command.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	until(t, func() string {
		if value("http://"+listen, "up") == "" {
			return "Prometheus has scraped nothing"
		}
		return ""
	})
	return func(query string) string { return value("http://"+listen, query) }
}

// value asks Prometheus for one value. It is empty when there is none, or no answer.
func value(base, query string) string {
	response, err := http.Get(base + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		return ""
	}
	defer response.Body.Close()
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || len(answer.Data.Result) != 1 {
		return ""
	}
	text, _ := answer.Data.Result[0].Value[1].(string)
	return text
}
