package dashboard

import (
	"net/url"
	"strconv"
	"time"
)

// Paths of the pages.
const (
	overviewPath = "/"
	clustersPath = "/clusters"
	nodesPath    = "/nodes"
	nodePath     = "/node"
	paramPath    = "/param"
	jobsPath     = "/jobs"
	sendersPath  = "/senders"
	searchPath   = "/search"
	apiPath      = "/api/v1/"
)

// link returns a path with the parameters, given as name and value, that are not empty.
func link(path string, params ...string) string {
	b := []byte(path)
	sep := byte('?')
	for i := 0; i+1 < len(params); i += 2 {
		if params[i+1] == "" {
			continue
		}
		b = append(b, sep)
		b = append(append(append(b, params[i]...), '='), url.QueryEscape(params[i+1])...)
		sep = '&'
	}
	return string(b)
}

func clusterLink(cluster, state string) string {
	return link(nodesPath, "cluster", Ref(cluster), "state", state)
}

func nodeLink(cluster, node string) string {
	return link(nodePath, "cluster", Ref(cluster), "node", Ref(node))
}

// paramLink returns the address of the graph of a parameter: of some nodes, or for none of all
// nodes of the cluster.
func paramLink(cluster, param string, nodes ...string) string {
	return link(paramPath, paramArgs(cluster, param, nodes)...)
}

func paramArgs(cluster, param string, nodes []string) []string {
	args := []string{"cluster", Ref(cluster), "param", Ref(param)}
	for _, n := range nodes {
		args = append(args, "node", Ref(n))
	}
	return args
}

func (p *Problem) link() string {
	switch p.Kind {
	case JobFailed, ServiceDown, NodesSilent:
		if p.Node != "" {
			return nodeLink(p.Cluster, p.Node)
		}
		state := Failing
		if p.Kind == NodesSilent {
			state = Silent
		}
		return clusterLink(p.Cluster, state)
	case SenderLossy:
		return link(sendersPath, "show", "lossy")
	case Refused:
		return link(sendersPath, "show", "refused")
	case OutputDown:
		return "#outputs"
	}
	return "#receiver"
}

// unixText returns a time for a URL.
func unixText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strconv.FormatFloat(seconds(t), 'f', -1, 64)
}
