// SPDX-License-Identifier: BSD-2-Clause
// A CPU for all of svm/: a VMCB and what the manual lets a CPU keep beside it. It
// believes each clean bit, keeps translations until the flush that is executed (a VMRUN that is
// refused executes none), and has nRIP save and decode assists or has not, in all combinations;
// without nRIP the field holds rubbish. (APM volume 2, "VMCB State Caching", "TLB Control"; volume
// 3, "VMRUN".)
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
// What follows has these in place of the CPU's.
#define rdmsr      cpu_rdmsr
#define wrmsr      cpu_wrmsr
#define xsetbv     cpu_xsetbv
#define xgetbv     cpu_xgetbv
#define irq_window cpu_irq_window
#include "kernel/arch/x86/insn.h"
#undef rdmsr
#undef wrmsr
#undef xsetbv
#undef xgetbv
#undef irq_window
#define vmload cpu_vmload
#define vmsave cpu_vmsave
#define svm_ltr cpu_svm_ltr
#define svm_lldt_null cpu_svm_lldt_null
#define svm_selectors cpu_svm_selectors
#define clgi   cpu_clgi
#define stgi   cpu_stgi
#include "kernel/arch/x86/svm/vmcb.h"
#undef vmload
#undef vmsave
#undef svm_ltr
#undef svm_lldt_null
#undef svm_selectors
#undef clgi
#undef stgi

#define ARCH_PRCTL  158
#define ARCH_SET_GS 0x1001

static bool gif;
static uint64_t xcr0, msr_written;
static unsigned windows; // in which host interrupts were let in

static inline uint64_t rdmsr(uint32_t msr) { (void)msr; return 0; }
static inline void wrmsr(uint32_t msr, uint64_t v) { msr_written = (uint64_t)msr << 32 | v; }
static inline void xsetbv(uint64_t v) { xcr0 = v; }
static inline uint64_t xgetbv(void) { return xcr0; }
static inline void irq_window(void) { assert_true(gif); windows++; }
static inline void vmload(struct hpa vmcb) { (void)vmcb; }
static inline void vmsave(struct hpa vmcb) { (void)vmcb; }
static inline void svm_ltr(uint16_t selector) { (void)selector; assert_false(gif); }
static inline void svm_lldt_null(void) {}
static inline uint32_t svm_selectors(void) { return 0; }
static inline void clgi(void) { gif = false; }
static inline void stgi(void) { gif = true; }
#include "kernel/arch/x86/svm/svm.h"

const struct fpu fpu_initial;
struct features features;
uint64_t clock_tsc_hz = 1000000000;
const struct hvm_ops *hvm = &svm_ops, vmx_ops; // whose are called by name, and not here
static struct cpu core;
static struct thread thread;
static struct process process;
static struct vm vm;
static struct vcpu vcpu;
static struct vcpu_page page;
static struct vmcb vmcb;
static uint32_t apic_regs[1024] __attribute__((aligned(4096)));
static uint64_t gdt[512];
static jmp_buf out;
enum left { BACK, ENTERED, TO_VMM, HALTED, SWITCHED };
static int64_t kind; // with which it was, and
static uint64_t word;
static unsigned yields;
static bool machine_checked;

// What the kernel's other files do here.
void vcpu_return(struct vcpu *v, int64_t k, uint64_t w)
{
    (void)v;
    assert_true(gif);
    kind = k;
    word = w;
    longjmp(out, TO_VMM);
}
void vcpu_return_fast(struct vcpu *v, int64_t k, uint64_t w) { vcpu_return(v, k, w); }
void vcpu_halt(struct vcpu *v) { (void)v; assert_true(gif); longjmp(out, HALTED); }
void sched_run(void) { assert_true(gif); longjmp(out, SWITCHED); }
void sched_yield_current(void) { assert_true(gif); yields++; }
void sched_give_way(void) { assert_true(gif); yields++; }
void svm_run_on(void) {}
bool log_line(enum log_from from, const char *format, ...)
{
    (void)from;
    (void)format;
    return true;
}
void svm_enter(struct vcpu *v) { (void)v; longjmp(out, ENTERED); }
uint64_t vcpu_take_event(struct vcpu *v) { (void)v; return 0; }
void timer_arm(struct timer *t, struct sc *sc, uint64_t deadline)
{
    (void)t;
    (void)sc;
    (void)deadline;
}
void context_load_dr(const struct vcpu *v) { (void)v; }
void context_load(struct cpu *c, struct vcpu *v) { (void)c; (void)v; }
void context_leave(struct cpu *c) { (void)c; }
void context_tsc_aux(struct cpu *c, uint64_t value) { c->arch.tsc_aux = value; }
bool cpu_has(bool has, const char *name, const char *why) { (void)name; (void)why; return has; }
void fpu_use_vcpu(struct cpu *c, struct vcpu *v) { (void)c; (void)v; }
void cr3_use(struct cpu *c, struct space *s) { (void)c; (void)s; }
void space_sync(struct space *s, uint32_t id) { (void)s; (void)id; }
static void *volatile frames = &vmcb;
void *arch_ptr(struct hpa a) { return a.v ? (void *)a.v : frames; }
bool frames_alloc_kernel(uint64_t count, uint32_t owner, struct hpa *at)
{
    static uint8_t pages[8][PAGE_SIZE];
    static uint64_t used;
    (void)owner;
    at->v = (uint64_t)pages[used];
    used += count;
    return used <= ARRAY_SIZE(pages);
}
void frames_free_kernel(struct hpa at, uint64_t count) { (void)at; (void)count; }
bool process_charge(struct process *p, uint64_t bytes) { (void)p; (void)bytes; return false; }
void process_uncharge(struct process *p, uint64_t bytes) { (void)p; (void)bytes; }
bool copy_from_user(struct process *p, void *to, uint64_t va, size_t bytes)
{
    (void)p;
    (void)to;
    (void)va;
    (void)bytes;
    return false;
}
bool vcpu_post(struct vcpu *v, uint8_t vector, bool level)
{
    (void)v;
    (void)vector;
    return level;
}
void vcpu_raise(struct vcpu *v, uint32_t work) { v->work |= work; }
void fpu_leave(struct cpu *c, const void *owner) { (void)c; (void)owner; }
void cpu_reload_tr(struct cpu *c) { (void)c; }
bool mce_handled(void) { return machine_checked; }
void panic(const char *format, ...) { fail_msg("%s", format); abort(); }

#include "kernel/arch/x86/svm/answer.c"
#include "kernel/arch/x86/svm/exit.c"
#include "kernel/arch/x86/svm/host.c"
#include "kernel/arch/x86/svm/inject.c"
#include "kernel/arch/x86/svm/regs.c"
#include "kernel/arch/x86/svm/sregs.c"
#include "kernel/arch/x86/svm/svm.c"
#include "kernel/arch/x86/svm/vcpu.c"
#include "kernel/arch/x86/vm.c"

static struct vmcb cached; // what it has of the VMCB, if
static bool has_cached;
static uint64_t translations[8], epoch; // of each ASID: whose; the guest's own now
static bool refuses;

// ("VMCB Clean Bits": which fields each is for.)
static void believe(const struct vmcb *b)
{
    static const struct { uint8_t bit; uint16_t at, bytes; } fields[] = {
        { 0, 0, 0x18 }, { 0, 0x50, 8 }, { 1, 0x40, 16 }, { 2, 0x58, 4 }, { 3, 0x60, 8 },
        { 4, 0x90, 8 }, { 4, 0xb0, 8 }, { 4, 0x668, 8 }, { 5, 0x548, 24 }, { 5, 0x4d0, 8 },
        { 6, 0x560, 16 }, { 7, 0x460, 16 }, { 7, 0x480, 16 }, { 8, 0x400, 64 }, { 8, 0x4cb, 1 },
        { 9, 0x640, 8 }, { 10, 0xb8, 8 },
    };
    assert_true(has_cached || !b->clean);
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
        if (b->clean >> fields[i].bit & 1)
            assert_memory_equal((const char *)b + fields[i].at, (char *)&cached + fields[i].at,
                                fields[i].bytes);
}

// ("Event Injection": what makes VMRUN refuse; and an error code that the guest does not expect.)
// Without nRIP it is QEMU, which may deliver an interrupt of EVENTINJ twice.
static void check_event(const struct vmcb *b)
{
    uint32_t vector = b->event & 0xff, type = EVENT_TYPE(b->event);
    bool asks = b->intercept & INTERCEPT_VINTR, saved = svm.features & SVM_NRIP;
    assert_true(asks || !(b->vintr & VINTR_IRQ) || (!saved && !(b->event & EVENT_VALID)));
    assert_true(saved || asks || !(b->event & EVENT_VALID) || type != EVENT_INTR);
    if (!(b->event & EVENT_VALID))
        return;
    assert_true(type == EVENT_INTR || type == EVENT_NMI || type == EVENT_EXCEPTION);
    if (type == EVENT_EXCEPTION)
        assert_true(vector < 32 && vector != 2 &&
                    !(b->event & EVENT_ERROR) == !(0x60227d00 >> vector & 1));
    else
        assert_false(b->event & EVENT_ERROR);
}

static void vmrun(void)
{
    const struct vmcb *b = &vmcb;
    assert_false(gif);
    believe(b);
    cached = *b;
    has_cached = true;
    assert_in_range(b->asid, 1, svm.asids - 1);
    assert_true((b->efer & EFER_SVME) && (b->intercept2 & 1) && b->nested_paging == 1);
    assert_true((b->cr4 & CR4_MCE) && !(b->dr7 >> 32 | b->dr6 >> 32) && (b->vintr & VINTR_MASKING));
    assert_int_equal((int64_t)(vcpu.arch.svm.gs_base << 16) >> 16, vcpu.arch.svm.gs_base);
    if (refuses)
        return;
    check_event(b);
    if (b->tlb_control)
        memset(translations, 0, sizeof(translations));
    assert_true(!translations[b->asid] || translations[b->asid] == epoch);
    translations[b->asid] = epoch;
}

#define RUN(what) ((left = (enum left)setjmp(out)) == BACK ? (void)(what) : (void)0)

// vcpu_run(), by the short way or by the long one.
static void vcpu_run(uint64_t run)
{
    if (rand() % 2)
        svm_run_ready(&thread, (uint32_t)run);
    int64_t answer = svm_answer(&vcpu, run);
    if (answer)
        vcpu_return(&vcpu, answer, 0);
    if (core.work)
        sched_run();
    svm_resume(&vcpu);
}

static enum left resume(uint64_t run)
{
    enum left left;
    core.current = &thread;
    if (core.arch.vcpu == &vcpu)
        core.arch.ready = &thread;
    gif = true;
    RUN(vcpu_run(run));
    if (left == ENTERED)
        vmrun();
    return left;
}

static uint32_t length_of(uint64_t rip, uint64_t cr3, uint64_t code)
{
    return 1 + (uint32_t)((rip * 31 + cr3 * 7 + code) * 0x9e3779b97f4a7c15ull >> 40) % 15;
}

// The VMM's part of it, if the kernel asks.
static unsigned decodes, gpr;
static enum left exits_at(uint64_t code, uint32_t length)
{
    enum left left;
    vmcb.exit_code = code;
    bool saved = svm.features & SVM_NRIP;
    vmcb.next_rip = saved ? vmcb.rip + length : (uint64_t)rand() << 20;
    cached = vmcb;
    gif = false;
    windows = 0;
    RUN(svm_exit(&vcpu));
    if (left == BACK)
        left = ENTERED;
    if (left == ENTERED)
        vmrun();
    if (left != TO_VMM || kind != VM_EXIT_DECODE)
        return left;
    decodes++;
    assert_false(saved && (svm.features & SVM_DECODE));
    assert_int_equal(page.exit.rip, vmcb.rip);
    page.entry.flags = VM_ENTRY_DECODED;
    page.entry.decoded.length = (uint8_t)length;
    page.entry.decoded.reg = (uint8_t)gpr;
    return resume(VM_RUN_PAGE);
}

static enum left exits(uint64_t code)
{
    return exits_at(code, length_of(vmcb.rip, vmcb.cr3, code));
}

static int setup(void **state)
{
    (void)state;
    memset(&core, 0, sizeof(core));
    memset(&vcpu, 0, sizeof(vcpu));
    memset(&page, 0, sizeof(page));
    memset(&vmcb, 0, sizeof(vmcb));
    memset(&vm, 0, sizeof(vm));
    memset(translations, 0, sizeof(translations));
    svm.asids = ARRAY_SIZE(translations);
    svm.clean = CLEAN_ALL;
    vcpu.arch.table.cr4 = CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_OSXSAVE | CR4_MCE;
    vcpu.arch.table.efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
    vcpu.arch.table.xcr0 = 7;
    vcpu.arch.table.tsc_aux = 1;
    core.arch.self = &core;
    core.arch.gdt = gdt;
    core.arch.asid_turn = 1;
    vcpu.vm = &vm;
    vcpu.object.owner = &process;
    vcpu.page = &page;
    vcpu.thread = &thread;
    vcpu.home = &thread;
    thread.vcpu = &vcpu;
    vcpu.arch.gpr = page.gpr;
    vcpu.arch.fresh = 1;
    vcpu.arch.dr6 = 0xffff0ff0;
    vcpu.arch.xcr0 = xcr0 = 7;
    vlapic_init(&vcpu.arch.vlapic, apic_regs, 0, true, 1, 0);
    msr_init(&vcpu.arch.msrs, &vcpu.arch.vlapic, &vcpu.arch.table);
    int status = (int)syscall(ARCH_PRCTL, ARCH_SET_GS, &core);
    has_cached = refuses = machine_checked = false;
    epoch++;
    gif = true;
    (void)svm_vcpu_init(&vcpu);
    page.sregs = (struct vcpu_sregs){
        .rip = 0x1000, .rflags = RFLAGS_FIXED | RFLAGS_IF, .cr0 = CR0_PE | CR0_PG,
        .cr4 = CR4_PAE | CR4_OSXSAVE, .efer = EFER_LME | EFER_LMA, .dr7 = 0x400,
        .cs.access = 0xa09b, .ss.access = 0x93, .tr.access = 0x8b, .ldtr.access = 0x100,
        .tr.selector = 0x40,
    };
    assert_int_equal(arch_vcpu_sregs(&vcpu, true), OK);
    if (status == 0)
        assert_int_equal(resume(0), ENTERED);
    return status;
}

#define COMBINATIONS 4
static void combination(unsigned i)
{
    svm.features = SVM_NPT | (i & 1 ? SVM_NRIP : 0) | (i & 2 ? SVM_DECODE : 0);
}
