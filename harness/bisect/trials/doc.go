// Package trials answers a search's questions with real trials: it prepares
// the kernel of a commit or a release, boots it as often as it is asked to,
// runs one case of a scenario, and says what came of it.
//
//	runner   what the trials run with: kernels, initramfs, accelerator
//	kernels  a search's subjects as kernels: git commits, releases
//	tester   bisect's Tester on the trial engine
//	ends     where a bisection begins, and the one that follows it
//	request  what a bisection was asked for, whole, in its state folder
//	search   a bisection from its folder to its answer
//	choose   the case to bisect with, where the user named none
//	step     one test for git bisect run
//	patch    a kernel with and without a patch
//	context  what a report says besides the answer
package trials
