// SPDX-License-Identifier: BSD-2-Clause
// Whose TR, LDTR, FS, GS and MSRs a core holds, on a CPU that is a few words: guests that are
// entered and exit, load what they like into all of them, and VMMs in between. What ring 3 must
// never meet, and that no guest loses anything. (APM volume 2, "VMSAVE and VMLOAD Instructions".)
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
// What follows has these in place of the CPU's.
#define vmload cpu_vmload
#define vmsave cpu_vmsave
#define clgi   cpu_clgi
#define stgi   cpu_stgi
#include "kernel/arch/x86/svm/svm.h"
#undef vmload
#undef vmsave
#undef clgi
#undef stgi

enum { GUESTS = 3, HOST_TR = 0x7357 };

// What VMRUN and #VMEXIT leave alone.
struct hidden { struct vmcb_segment fs, gs, ldtr, tr; uint64_t star, kernel_gs; };
static struct hidden now;
static bool gif;
static uint16_t says_busy; // of a TSS: all ones, or all but that bit
static struct cpu core;
static uint64_t gdt[512];
static struct vcpu vcpu[GUESTS];
static struct vmcb vmcb[GUESTS + 1]; // and the host's
static struct hidden guest[GUESTS];  // as each has them
static jmp_buf entered;
struct svm_caps svm = { .asids = 8 };

static struct vmcb *vmcb_at(struct hpa a) { return &vmcb[a.v]; }

static void vmload(struct hpa at)
{
    const struct vmcb *b = vmcb_at(at);
    now = (struct hidden){ b->fs, b->gs, b->ldtr, b->tr, b->star, b->kernel_gs };
    now.tr.access |= 2; // what is in TR is busy
}

static void vmsave(struct hpa at)
{
    struct vmcb *b = vmcb_at(at);
    b->fs = now.fs;
    b->gs = now.gs;
    b->ldtr = now.ldtr;
    b->tr = now.tr;
    b->tr.access &= says_busy;
    b->star = now.star;
    b->kernel_gs = now.kernel_gs;
}

static void clgi(void) { gif = false; }
static void stgi(void) { gif = true; }

// LTR: the hidden part comes from the GDT. Null selectors are refused, and busy descriptors.
static void ltr(uint16_t selector)
{
    const uint64_t *d = &gdt[selector / 8];
    assert_int_not_equal(selector & 0xfffc, 0);
    assert_int_equal(d[0] >> 40 & 0x9f, 0x89);
    uint64_t limit = (d[0] & 0xffff) | (d[0] >> 32 & 0xf0000);
    uint64_t base = (d[0] >> 16 & 0xffffff) | (d[0] >> 56) << 24 | d[1] << 32;
    now.tr = (struct vmcb_segment){ selector, 0x8b, (uint32_t)limit, base };
    gdt[selector / 8] |= 2ull << 40;
}

void cpu_reload_tr(struct cpu *c)
{
    (void)c;
    for (unsigned i = 0; i <= SEL_USER_DATA / 8; i++)
        assert_int_equal(gdt[i], i); // the host's own are untouched
    now.tr = (struct vmcb_segment){ SEL_TSS, 0x8b, 0x67, HOST_TR };
}

#define svm_ltr  ltr
#define svm_lldt_null() (now.ldtr = (struct vmcb_segment){ 0 })
#define svm_selectors() ((uint32_t)(now.fs.selector | now.gs.selector))
#define this_cpu() (&core)
#include "kernel/arch/x86/svm/host.c"

void svm_enter(struct vcpu *v) { (void)v; longjmp(entered, 1); }
void panic(const char *format, ...) { fail_msg("%s", format); abort(); }

// In ring 3, and in the kernel outside of svm_go() to svm_to_host().
static void check_host(void)
{
    assert_true(gif);
    assert_int_equal(now.tr.base, HOST_TR);
    assert_int_equal(now.ldtr.selector, 0);
    assert_int_equal(now.ldtr.base, 0);
}

static bool same(const struct vmcb_segment *a, const struct vmcb_segment *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

// The guest runs: it has what it had. GS' base goes by svm_enter().
static void check_guest(unsigned i)
{
    const struct hidden *g = &guest[i];
    assert_false(gif);
    assert_true(same(&now.tr, &g->tr));
    assert_true(same(&now.ldtr, &g->ldtr));
    assert_true(same(&now.fs, &g->fs));
    assert_int_equal(now.gs.selector, g->gs.selector);
    assert_int_equal(now.star, g->star);
    assert_int_equal(now.kernel_gs, g->kernel_gs);
}

static void enter(unsigned i)
{
    struct vcpu *v = &vcpu[i];
    if (core.arch.context != v) {
        if (core.arch.context)
            svm_context_save(core.arch.context);
        svm_context_load(&core, v);
        core.arch.context = v;
    }
    check_host();
    if (setjmp(entered) == 0)
        svm_go(v);
    check_guest(i);
}

// Another process comes to ring 3: nothing is left there.
static void leave(void)
{
    if (!core.arch.context)
        return;
    svm_context_save(core.arch.context);
    core.arch.context = NULL;
    check_host();
    assert_int_equal(now.star, 0);
    assert_int_equal(now.kernel_gs, 0);
}

// And its VMM runs: IRET to ring 3 clears FS and GS where their segments are not for that.
static void exits(unsigned i)
{
    svm_to_host(&vcpu[i]);
    check_host();
    if (now.fs.selector & 0xfffc)
        now.fs = (struct vmcb_segment){ 0 };
    if (now.gs.selector & 0xfffc)
        now.gs = (struct vmcb_segment){ 0 };
}

static uint64_t some(void) { return (uint64_t)rand() << 16 & 0x7fffffffffff; }

// What the guest does before its next exit.
static void runs(unsigned i)
{
    struct vmcb *b = &vmcb[i];
    struct hidden *g = &guest[i];
    g->star = now.star = some();
    g->kernel_gs = now.kernel_gs = some(); // SWAPGS
    g->fs.base = now.fs.base = some();
    switch (rand() % 12) {
    case 0: // another task: LDT, TR, FS, GS
        if (b->intercept & INTERCEPT_TR_WRITE) {
            svm_to_host(&vcpu[i]);
            svm_tr_changes(&vcpu[i]);
            enter(i);
        }
        g->tr = now.tr = (struct vmcb_segment){
            (uint16_t)(8 * (rand() % 600)), rand() % 8 ? 0x8b : 0x83,
            (uint32_t)rand() % 0x200000, rand() % 8 ? some() : ~some(),
        };
        g->ldtr = now.ldtr = rand() % 4 ? (struct vmcb_segment){ 0 }
                                        : (struct vmcb_segment){ 0x68, 0x82, 0xff, some() };
        break;
    case 1:
        g->fs.selector = now.fs.selector = (uint16_t)(rand() % 3 * 8);
        g->gs.selector = now.gs.selector = (uint16_t)(rand() % 3 * 8);
        break;
    case 2:
        b->efer ^= EFER_LMA;
        break;
    default:
        break;
    }
}

static int setup(void **state)
{
    (void)state;
    memset(&core, 0, sizeof(core));
    memset(vcpu, 0, sizeof(vcpu));
    memset(vmcb, 0, sizeof(vmcb));
    memset(guest, 0, sizeof(guest));
    memset(gdt, 0, sizeof(gdt));
    memset(&now, 0, sizeof(now));
    core.arch.gdt = gdt;
    for (unsigned i = 0; i <= SEL_USER_DATA / 8; i++)
        gdt[i] = i;
    core.arch.asid_turn = 1;
    core.arch.svm_host = HPA(GUESTS);
    gif = true;
    says_busy = 0xffff;
    cpu_reload_tr(&core);
    vmsave(core.arch.svm_host);
    static uint32_t apic[GUESTS][1024];
    for (unsigned i = 0; i < GUESTS; i++) {
        vcpu[i].arch.vmcs = HPA(i);
        vcpu[i].arch.svm.vmcb = &vmcb[i];
        vcpu[i].arch.svm.cpu = &core;
        vcpu[i].arch.vlapic.regs = apic[i];
        vmcb[i].efer = EFER_LMA | EFER_SVME;
        guest[i].tr = vmcb[i].tr = (struct vmcb_segment){ 0, 0x8b, 0xffff, 0 }; // from power-on
    }
    return 0;
}

static void nobody_meets_anothers(void **state)
{
    for (unsigned n = 0; n < 200000; n++) {
        if (n % 50000 == 0) {
            setup(state);
            says_busy = n / 50000 % 2 ? 0xfffd : 0xffff;
        }
        unsigned i = (unsigned)rand() % GUESTS;
        enter(i);
        runs(i);
        exits(i);
        if (rand() % 8 == 0)
            leave();
    }
}

// A kernel as they are costs neither of the two.
static void a_plain_guest(void **state)
{
    for (uint16_t said = 0xffff; said >= 0xfffd; said -= 2) {
        setup(state);
        says_busy = said;
        enter(0);
        guest[0].tr = now.tr = (struct vmcb_segment){ 0x80, 0x8b, 0x206f, 0xfffffe0000003000 };
        exits(0);
        assert_true(vcpu[0].arch.svm.tr_plain);
        uint64_t marked = vmcb[0].star = 0x1234; // VMSAVE would overwrite it
        for (unsigned n = 0; n < 10; n++) {
            enter(0);
            guest[0].star = now.star = n;
            exits(0);
        }
        assert_int_equal(vmcb[0].star, marked);
    }
}

// Address spaces are given once in a turn, and all are forgotten between two turns.
static void address_spaces(void **state)
{
    (void)state;
    uint64_t given[GUESTS] = { 0 }, used = 0;
    for (unsigned n = 0; n < 5000; n++) {
        unsigned i = (unsigned)rand() % GUESTS;
        if (rand() % 3 == 0)
            vcpu[i].arch.svm.asid_turn = 0; // svm_new_asid()
        if (rand() % 20 == 0)
            core.arch.asid_turn++;           // svm_flush_guest()
        bool fresh = vcpu[i].arch.svm.asid_turn != core.arch.asid_turn;
        enter(i);
        assert_in_range(vmcb[i].asid, 1, svm.asids - 1);
        if (vmcb[i].tlb_control == 1)
            used = 0;
        if (fresh) {
            assert_int_equal(used >> vmcb[i].asid & 1, 0);
            used |= 1ull << vmcb[i].asid;
        } else {
            assert_int_equal(given[i], vmcb[i].asid);
        }
        given[i] = vmcb[i].asid;
        exits(i);
        assert_int_equal(vmcb[i].tlb_control, 0);
    }
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_plain_guest), TEST(address_spaces), TEST(nobody_meets_anothers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
