// SPDX-License-Identifier: BSD-2-Clause
// A guest's CPUID: the VMM makes its table from the leaves of a Skylake server, of an older CPU and
// of a very new one, and the kernel answers from it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "kernel/arch/x86/cpuid_policy.h"
#include "kernel/arch/x86/regs.h"
#include "vmm/cpu/cpuid.h"

static uint32_t highest = 0x16;
static uint32_t components = 0x2ff; // of XCR0, with MPX
static uint32_t avx_size = 256;
static uint32_t extended, smep;     // leaf 80000001H EDX; SMEP in leaf 7 EBX
static uint32_t size_error[2];      // of what is said of an XSAVE area: standard, compacted
static uint32_t fill;               // what leaves with flags show besides; ~0: all there is

static void skylake(uint32_t leaf, uint32_t sub, uint32_t r[4])
{
    static const uint32_t component[10][3] = { // size, offset, alignment
        [2] = { 256, 576, 0 }, [3] = { 64, 960, 0 }, [4] = { 64, 1024, 0 }, [5] = { 64, 1088, 0 },
        [6] = { 512, 1152, 0 }, [7] = { 1024, 1664, 0 }, [9] = { 8, 2688, 0 },
    };
    memset(r, 0, 16);
    switch (leaf) {
    case 0: r[0] = highest; r[1] = 0x756e6547; r[2] = 0x6c65746e; r[3] = 0x49656e69; break;
    case 1: r[0] = 0x50654; r[1] = 0x07100800; r[2] = 0x7ffefbff | fill;
            r[3] = 0xbfebfbff | fill; break;
    case 2: r[0] = 0x76036301; break;
    case 4:
        if (sub < 4) {
            r[0] = 0x1c004121 + sub * 0x20; r[1] = 0x01c0003f; r[2] = 63;
        }
        break;
    case 5: r[0] = r[1] = 64; r[2] = 3; break;
    case 6: r[0] = 0x77; r[2] = 9; break;
    case 7:
        if (sub == 0) {
            r[0] = 1; r[1] = 0xd39fff7b | smep | fill;
            r[2] = 0x18 | fill; r[3] = 0x9c000000 | fill;
        } else {
            r[0] = 0xffffffff;
        }
        break;
    case 0xa: r[0] = 0x07300804; r[3] = 0x603; break;
    case 0xb: r[0] = 1 + sub * 4; r[1] = 2; r[2] = 0x100; r[3] = 7; break;
    case 0xd:
        if (sub == 0) { r[0] = components; r[1] = 2696; r[2] = 2696; }
        else if (sub == 1) { r[0] = 0xf; r[1] = 2696; r[2] = 0x100; }
        else if (sub < 10) { r[0] = component[sub][0]; r[1] = component[sub][1]; }
        if (sub == 2) r[0] = avx_size;
        if (sub == 9) r[2] = 2; // the compacted form must align it
        break;
    case 0x15: r[0] = 2; r[1] = 292; r[2] = 24000000; break;
    case 0x16: r[0] = 3500; r[1] = 4000; r[2] = 100; break; // MHz
    case 0x80000000: r[0] = 0x80000008; break;
    case 0x80000001: r[2] = 0x121 | fill; r[3] = extended | fill; break;
    case 0x80000002 ... 0x80000004: r[0] = leaf; break;
    case 0x80000005: r[2] = 0x20080140; break;
    case 0x80000006: r[2] = 0x01006040; break;
    case 0x80000007: r[3] = 0x100; break;
    case 0x80000008: r[0] = 0x0000392e; r[1] = 0x200; break;
    default: memset(r, fill & 0xff, 16); break;
    }
}

static struct cpuid_table p;
static struct cpuid_vcpu c;

// What a CPU says in EBX of 0DH.0 and 0DH.1 with this in XCR0.
static uint32_t xsave_area(uint64_t xcr0, bool compacted)
{
    uint32_t end = 576;
    for (uint32_t i = 2; i < 10; i++) {
        uint32_t r[4];
        skylake(0xd, i, r);
        if (!(components & xcr0 & 1u << i))
            continue;
        if (compacted)
            end = (r[2] & 2 ? (end + 63) / 64 * 64 : end) + r[0];
        else
            end = r[0] + r[1] > end ? r[0] + r[1] : end;
    }
    return end + size_error[compacted];
}

static void make(uint64_t tsc_hz, uint64_t xcr0)
{
    struct cpuid_facts facts = { tsc_hz, 1, xcr0,
                                 { xsave_area(xcr0, false), xsave_area(xcr0, true) }, skylake };
    memset(&p, 0xa5, sizeof(p));
    memset(&c, 0, sizeof(c)); // a new vCPU's
    cpuid_make(&p, &facts);
    assert_true(cpuid_accept(&p, xcr0, true));
    cpuid_vcpu_update(&c, 0, 0, 0xfee00900);
}

static int setup(void **state)
{
    (void)state;
    highest = 0x16;
    components = 0x2ff;
    fill = 0;
    avx_size = 256;
    extended = 0x2c100800;
    smep = 1u << 7;
    size_error[0] = size_error[1] = 0;
    make(3500000000, 0x2ff);
    return 0;
}

static struct cpuid_regs cpuid(uint32_t leaf, uint32_t sub)
{
    // The upper halves are not looked at, and are cleared.
    uint64_t upper = 0xdeadbeefull << 32;
    uint64_t gpr[4] = { upper | leaf, upper | sub, UINT64_MAX, UINT64_MAX };
    if (!cpuid_emulate(&p, &c, gpr))
        cpuid_no_subleaf(&c, gpr);
    for (int i = 0; i < 4; i++)
        assert_int_equal(gpr[i] >> 32, 0);
    return (struct cpuid_regs){ (uint32_t)gpr[0], (uint32_t)gpr[3], (uint32_t)gpr[1],
                                (uint32_t)gpr[2] };
}

static void assert_regs(struct cpuid_regs r, uint32_t eax, uint32_t ebx, uint32_t ecx, uint32_t edx)
{
    assert_int_equal(r.eax, eax);
    assert_int_equal(r.ebx, ebx);
    assert_int_equal(r.ecx, ecx);
    assert_int_equal(r.edx, edx);
}

static void names_the_hypervisor(void **state)
{
    (void)state;
    struct cpuid_regs r = cpuid(0x40000000, 0);
    char signature[13] = { 0 };
    memcpy(signature, &r.ebx, 4);
    memcpy(signature + 4, &r.ecx, 4);
    memcpy(signature + 8, &r.edx, 4);
    assert_string_equal(signature, "BulkheadHV  ");
    assert_int_equal(r.eax, 0x40000001);
    assert_true(cpuid(1, 0).ecx >> 31);
    assert_regs(cpuid(0x40000001, 0), 0, 0, 0, 0);
    assert_regs(cpuid(0x40000002, 0), 0, 0, 0, 0);
    assert_regs(cpuid(0x40000100, 0), 0, 0, 0, 0);
    assert_regs(cpuid(0, 9), 0x16, 0x756e6547, 0x6c65746e, 0x49656e69);
}

static void leaf_1_and_7(void **state)
{
    (void)state;
    assert_regs(cpuid(1, 0), 0x50654, 0x00010800,
                1 | 1 << 1 | 1 << 9 | 1 << 12 | 1 << 13 | 1 << 17 | 1 << 19 | 1 << 20 | 1 << 21 |
                1 << 22 | 1 << 23 | 1 << 24 | 1 << 25 | 1 << 26 | 1 << 28 | 1 << 29 | 1 << 30 |
                1u << 31,
                0x0f8bfbff);
    struct cpuid_regs r = cpuid(7, 0);
    assert_int_equal(r.eax, 0);
    assert_int_equal(r.ebx, 0xd19f2ffb & ~(1u << 2)); // no SGX, RDT, MPX, PT
    assert_int_equal(r.ecx, 1 << 3);
    assert_int_equal(r.edx, 0); // no IBRS, STIBP, L1D_FLUSH, SSBD
    assert_regs(cpuid(7, 1), 0, 0, 0, 0);
    assert_regs(cpuid(7, 0xffffffff), 0, 0, 0, 0);
}

static void hides_what_is_not_given(void **state)
{
    (void)state;
    fill = 0xffffffff; // a CPU that has it all, and much that nobody has heard of
    make(3500000000, 0xffffffff);
    struct cpuid_regs r = cpuid(1, 0);
    static const uint8_t hidden_1c[] = { 2, 3, 4, 5, 6, 7, 8, 10, 11, 14, 15, 16, 18 };
    for (size_t i = 0; i < ARRAY_SIZE(hidden_1c); i++)
        assert_false(r.ecx >> hidden_1c[i] & 1);
    assert_int_equal(r.edx & (1u << 18 | 7u << 20 | 0xfu << 28), 0); // PSN, DS, ACPI, HTT..PBE
    r = cpuid(7, 0);
    static const uint8_t hidden_7b[] = { 2, 12, 14, 15, 22, 25 };
    for (size_t i = 0; i < ARRAY_SIZE(hidden_7b); i++)
        assert_false(r.ebx >> hidden_7b[i] & 1);
    static const uint8_t hidden_7c[] = { 4, 5, 7, 13, 15, 16, 17, 23, 24, 26, 29, 30, 31 };
    for (size_t i = 0; i < ARRAY_SIZE(hidden_7c); i++)
        assert_false(r.ecx >> hidden_7c[i] & 1);
    static const uint8_t hidden_7d[] = { 5, 9, 11, 13, 15, 18, 19, 20, 22, 24, 25, 26, 27,
                                         28, 29, 30, 31 };
    for (size_t i = 0; i < ARRAY_SIZE(hidden_7d); i++)
        assert_false(r.edx >> hidden_7d[i] & 1);
    static const uint32_t empty[] = { 3, 5, 8, 9, 0xa, 0xc, 0xe, 0xf, 0x10, 0x12, 0x13, 0x14 };
    for (size_t i = 0; i < ARRAY_SIZE(empty); i++)
        assert_regs(cpuid(empty[i], 0), 0, 0, 0, 0);
    assert_regs(cpuid(6, 0), 4, 0, 0, 0); // ARAT alone
    assert_int_equal(cpuid(0x80000001, 0).ecx, 0x121);
    assert_int_equal(cpuid(0x80000001, 0).edx, 0x2c100800);
    assert_regs(cpuid(0x80000007, 0), 0, 0, 0, 0x100);
    assert_regs(cpuid(0x80000008, 0), 0x302e, 0, 0, 0); // 48 bits of linear address
}

// A CPU with a fiftieth of the frequency that its leaf 16H names is an emulator's.
static void an_interpreter_does_not_speculate(void **state)
{
    (void)state;
    assert_int_equal(cpuid(0x80000008, 0).ebx, 0);
    make(1200000000, 0x2ff); // a base frequency far below the named one
    assert_int_equal(cpuid(0x80000008, 0).ebx, 0);
    make(50000000, 0x2ff);
    assert_int_equal(cpuid(0x80000008, 0).ebx, 1u << 29);
    highest = 0xd; // it names none
    make(50000000, 0x2ff);
    assert_int_equal(cpuid(0x80000008, 0).ebx, 0);
}

static void features_need_their_state(void **state)
{
    (void)state;
    fill = 0xffffffff;
    make(3500000000, 3); // SSE only
    struct cpuid_regs r = cpuid(1, 0);
    assert_int_equal(r.ecx & (1u << 12 | 1u << 28 | 1u << 29), 0);
    assert_true(r.ecx >> 26 & 1);
    r = cpuid(7, 0);
    assert_int_equal(r.ebx & (1u << 5 | 1u << 16 | 1u << 17 | 3u << 30), 0);
    assert_int_equal(r.ecx & (1u << 3 | 1u << 9 | 1u << 10 | 1u << 11), 0);
    assert_int_equal(r.edx & 1u << 2, 0);
    make(3500000000, 0x200); // nonsense: no XSAVE then
    assert_int_equal(p.xcr0, 0);
    assert_false(cpuid(1, 0).ecx >> 26 & 1);
    assert_regs(cpuid(0xd, 0), 0, 0, 0, 0);
    assert_regs(cpuid(0xd, 1), 0, 0, 0, 0);
    assert_false(p.cr4 & CR4_OSXSAVE);
    components = 0xa7; // half of AVX-512
    make(3500000000, 0x2ff);
    assert_int_equal(p.xcr0, 7);
    assert_false(cpuid(7, 0).ebx >> 16 & 1);
}

static void old_cpu(void **state)
{
    (void)state;
    highest = 1; // leaves 7, 0DH, ... read as the highest one does
    make(2000000000, 0x2ff);
    assert_int_equal(cpuid(0, 0).eax, 0x16);
    assert_regs(cpuid(7, 0), 0, 2, 0, 0); // TSC_ADJUST is always there
    assert_regs(cpuid(4, 0), 0, 0, 0, 0);
    assert_int_equal(p.xcr0, 0);
    assert_int_equal(cpuid(0x15, 0).ecx, 2000000000);
}

static void one_core_with_one_thread(void **state)
{
    (void)state;
    cpuid_vcpu_update(&c, 5, 0, 0xfee00900);
    assert_int_equal(cpuid(1, 0).ebx, 0x05010800);
    for (uint32_t sub = 0; sub < 4; sub++)
        assert_regs(cpuid(4, sub), (0x4121 + sub * 0x20) & 0x3fff, 0x01c0003f, 63, 0);
    assert_regs(cpuid(4, 4), 0, 0, 0, 0);
    assert_regs(cpuid(0xb, 0), 0, 1, 0x100, 5);
    assert_regs(cpuid(0xb, 1), 0, 1, 0x201, 5);
    assert_regs(cpuid(0xb, 2), 0, 0, 2, 5);
    assert_regs(cpuid(0xb, 0x1ff), 0, 0, 0xff, 5);
}

static void clock_is_exact(void **state)
{
    static const uint64_t hz[] = { 50000000, 49999987, 2394456789, 3500000001, 4294967295,
                                   4294967296, 5600000001 };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(hz); i++) {
        make(hz[i], 7);
        struct cpuid_regs r = cpuid(0x15, 0);
        uint64_t product = (uint64_t)r.ecx * r.ebx / r.eax;
        assert_in_range(product + 1, hz[i], hz[i] + 2);
        assert_int_equal(cpuid_timer_ratio(hz[i]), r.ebx); // the APIC timer counts at this crystal
        assert_int_equal(r.eax, 1);
        // As a kernel computes it, in kHz and 32 bits.
        uint32_t khz = r.ecx / 1000 * r.ebx / r.eax;
        assert_in_range(khz + 2, hz[i] / 1000, hz[i] / 1000 + 2);
        assert_regs(cpuid(0x16, 0), (uint32_t)((hz[i] + 500000) / 1000000),
                    (uint32_t)((hz[i] + 500000) / 1000000), 100, 0);
    }
}

static void follows_the_vcpus_state(void **state)
{
    (void)state;
    assert_false(cpuid(1, 0).ecx >> 27 & 1);
    assert_true(cpuid(1, 0).edx >> 9 & 1);
    assert_false(cpuid(7, 0).ecx >> 4 & 1);
    cpuid_vcpu_update(&c, 0, CR4_OSXSAVE | CR4_PKE, 0xfee00100);
    assert_true(cpuid(1, 0).ecx >> 27 & 1);
    assert_false(cpuid(1, 0).edx >> 9 & 1); // APIC switched off
    assert_true(cpuid(7, 0).ecx >> 4 & 1);
}

static void xsave_leaves(void **state)
{
    static const struct { uint64_t xcr0; uint32_t standard, compact; } size[] = {
        { 1, 576, 576 }, { 3, 576, 576 }, { 7, 832, 832 }, { 0xe7, 2688, 2432 },
        { 0x203, 2696, 584 }, { 0x207, 2696, 840 }, { 0x2e7, 2696, 2440 },
    };
    (void)state;
    assert_int_equal(p.xcr0, 0x2e7); // without MPX
    for (size_t i = 0; i < ARRAY_SIZE(size); i++) {
        cpuid_vcpu_xsave(&c, xsave_area(size[i].xcr0, false), xsave_area(size[i].xcr0, true));
        assert_regs(cpuid(0xd, 0), 0x2e7, size[i].standard, 2696, 0);
        assert_regs(cpuid(0xd, 1), 7, size[i].compact, 0, 0); // no XSAVES
    }
    assert_regs(cpuid(0xd, 2), 256, 576, 0, 0);
    assert_regs(cpuid(0xd, 3), 0, 0, 0, 0);
    assert_regs(cpuid(0xd, 9), 8, 2688, 2, 0);
    assert_regs(cpuid(0xd, 10), 0, 0, 0, 0);
    assert_regs(cpuid(0xd, 0xffffffff), 0, 0, 0, 0);
    avx_size = 250;
    make(3500000000, 0x2ff);
    assert_regs(cpuid(0xd, 1), 7, 0, 0, 0); // 826, aligned to 64, and 8: that is sound
    static const uint64_t good[] = { 1, 3, 7, 0xe7, 0x2e7, 0x201 };
    static const uint64_t bad[] = { 0, 2, 5, 0x27, 0xe3, 0xb, 0x1b, 0x100, 1ull << 63 | 1 };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        assert_true(cpuid_xcr0_valid(&p, good[i]));
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_false(cpuid_xcr0_valid(&p, bad[i]));
}

// What a guest is told is made anew, so nothing of the host's error would show in it.
static void hides_what_the_host_contradicts(void **state)
{
    (void)state;
    size_error[1] = 256; // as Bochs 2.7 says it, whose XSAVEC loses YMM registers
    make(3500000000, 0x2ff);
    cpuid_vcpu_xsave(&c, 832, 832);
    assert_int_equal(p.xcr0, 0x2e7);
    assert_true(cpuid(1, 0).ecx >> 26 & 1);
    assert_regs(cpuid(0xd, 0), 0x2e7, 832, 2696, 0);
    assert_regs(cpuid(0xd, 1), 5, 0, 0, 0); // XSAVEOPT and XGETBV, no XSAVEC
    size_error[1] = (uint32_t)-64;
    make(3500000000, 0x2ff);
    assert_regs(cpuid(0xd, 1), 5, 0, 0, 0);
    size_error[0] = 64; // the form that all use: nothing is left that can be trusted
    make(3500000000, 0x2ff);
    assert_int_equal(p.xcr0, 0);
    assert_false(cpuid(1, 0).ecx >> 26 & 1);
    assert_false(cpuid(1, 0).ecx >> 28 & 1); // nor AVX
    assert_regs(cpuid(0xd, 0), 0, 0, 0, 0);
    assert_regs(cpuid(0xd, 1), 0, 0, 0, 0);
    assert_false(p.cr4 & CR4_OSXSAVE);
}

static void beyond_the_highest(void **state)
{
    (void)state;
    struct cpuid_regs r = cpuid(0x16, 0);
    static const uint32_t leaves[] = { 0x17, 0x20, 0x21, 0x1000, 0x80000009, 0x8000001f,
                                       0xc0000000, 0xffffffff };
    for (size_t i = 0; i < ARRAY_SIZE(leaves); i++)
        assert_regs(cpuid(leaves[i], 0), r.eax, r.ebx, r.ecx, r.edx);
    assert_regs(cpuid(0x80000000, 0), 0x80000008, 0, 0, 0);
    assert_int_equal(cpuid(0x80000004, 0).eax, 0x80000004);
    assert_regs(cpuid(0x80000005, 0), 0, 0, 0x20080140, 0); // AMD's
    assert_regs(cpuid(0x80000006, 0), 0, 0, 0x01006040, 0);
}

static struct cpuid_entry *entry(uint32_t leaf)
{
    return &p.entry[p.slot[cpuid_slot(leaf)].at / sizeof(struct cpuid_entry)];
}

// What the kernel makes of a table that another VMM than ours gives it.
static void a_table_is_checked(void **state)
{
    struct cpuid_slot *slot = &p.slot[5];
    (void)state;
    *slot = (struct cpuid_slot){ 47 * sizeof(struct cpuid_entry), 1 };
    assert_true(cpuid_accept(&p, 0x2e7, true));
    slot->subs = 2; // the second would be behind the table
    assert_false(cpuid_accept(&p, 0x2e7, true));
    slot->subs = 0xffff;
    assert_false(cpuid_accept(&p, 0x2e7, true));
    *slot = (struct cpuid_slot){ 48 * sizeof(struct cpuid_entry), 0 };
    assert_false(cpuid_accept(&p, 0x2e7, true));
    *slot = (struct cpuid_slot){ 1, 0 };
    assert_false(cpuid_accept(&p, 0x2e7, true));
    *slot = (struct cpuid_slot){ 0, 0 };
    entry(1)->live = CPUID_LIVE_COUNT * sizeof(struct cpuid_regs);
    assert_false(cpuid_accept(&p, 0x2e7, true));
    entry(1)->live = 4;
    assert_false(cpuid_accept(&p, 0x2e7, true));
    entry(1)->live = 0;
    p.tsc_aux = 2;
    assert_true(cpuid_accept(&p, 0x2e7, true));
    assert_int_equal(p.tsc_aux, 1);
    assert_true(cpuid_accept(&p, 0x2e7, false)); // the kernel's own WRMSR would be #GP
    assert_int_equal(p.tsc_aux, 0);
    p.cr4 = p.efer = p.xcr0 = ~0ull;
    assert_true(cpuid_accept(&p, 7, true)); // what the kernel does not switch is not to be had
    assert_int_equal(p.xcr0, 7);
    assert_false(cpuid_xcr0_valid(&p, 0xe7));
    assert_int_equal(p.cr4, 0x770fff); // no LA57, VMXE, SMXE, nor what nobody has heard of
    assert_int_equal(p.efer, 0xd01);
    p.address_bits = 53;
    assert_false(cpuid_accept(&p, 7, true));
    memset(&p, 0, sizeof(p)); // none was given
    assert_true(cpuid_accept(&p, 7, true));
    cpuid_vcpu_update(&c, 0, 0, 0xfee00900);
    assert_regs(cpuid(1, 0), 0, 0, 0, 0);
    assert_regs(cpuid(0xd, 0), 0, 0, 0, 0);
    assert_false(cpuid_xcr0_valid(&p, 1));
    assert_int_equal(p.efer, 0);
}

static void register_bits_follow(void **state)
{
    (void)state;
    assert_int_equal(p.cr4, 0x7707ff); // no UMIP, LA57, VMXE, SMXE
    assert_int_equal(p.efer, EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE);
    assert_int_equal(p.address_bits, 46);
    assert_true(p.tsc_aux);
    extended = 0x24000800; // without NX and RDTSCP
    smep = 0;
    make(3500000000, 0x2ff);
    assert_int_equal(p.cr4, 0x6707ff);
    assert_int_equal(p.efer, EFER_SCE | EFER_LME | EFER_LMA);
    assert_false(p.tsc_aux);
}

#define TEST(f) cmocka_unit_test_setup(f, setup)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(names_the_hypervisor), TEST(leaf_1_and_7), TEST(hides_what_is_not_given),
        TEST(an_interpreter_does_not_speculate),
        TEST(features_need_their_state), TEST(old_cpu), TEST(one_core_with_one_thread),
        TEST(clock_is_exact), TEST(follows_the_vcpus_state), TEST(xsave_leaves),
        TEST(hides_what_the_host_contradicts),
        TEST(beyond_the_highest), TEST(a_table_is_checked), TEST(register_bits_follow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
