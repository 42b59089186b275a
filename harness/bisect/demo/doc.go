// Command demo shows a bisection whole, on real source: it fetches a Linux
// source package of Debian's that carries the fixes of "Repeatable,
// raid1+O_DIRECT, hang/warn", makes a history of it in which three commits,
// apart from each other, take the fix back, and has blockrig bisect it
// unattended. It ends with status 0 when blockrig names the right commit and
// calls it proven.
//
// The other commits of the history change generated code in block, md, iomap
// and ext4, six of them in the culprit's own functions; one does not compile,
// one does not boot, one warns at boot, and one breaks another scenario. Their
// order follows from a seed.
//
//	just bisect-demo [-commits N] [-seed N] [-grow] [-several] [-conflict] [-history] [-hub ADDRESS:PORT] [-builders N]
package main
