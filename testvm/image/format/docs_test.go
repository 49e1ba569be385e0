package format

import (
	"os"
	"strings"
	"testing"
)

// The documentation holds the table as it is printed.
func TestDocumented(t *testing.T) {
	var table strings.Builder
	if err := Write(&table); err != nil {
		t.Fatal(err)
	}
	docs, err := os.ReadFile("../../../docs/images.md")
	if err != nil || !strings.Contains(string(docs), table.String()) {
		t.Errorf("docs/images.md lacks what `keelson formats` prints (%v)", err)
	}
}
