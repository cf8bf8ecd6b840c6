// SPDX-License-Identifier: BSD-2-Clause
// What the banks of a machine check say (SDM, "Uncorrected Recoverable Errors").
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "kernel/arch/x86/mce.h"

#define ERROR (MCI_VALID | MCI_UC | MCI_EN)
#define SRAR  (ERROR | MCI_S | MCI_AR)
#define SRAO  (ERROR | MCI_S)

static enum mce_verdict judge(uint64_t cap, uint64_t mcg, uint64_t first, uint64_t second)
{
    const uint64_t bank[4] = { 0, first, 0, second };
    return mce_judge(cap, mcg, bank, 4);
}

static void test_guest_only(void **state)
{
    (void)state;
    const uint64_t ser = MCG_CAP_SER_P;
    // A poisoned line that this core read: what ran ends, and nothing else.
    assert_int_equal(judge(ser, MCG_RIPV | MCG_EIPV, SRAR, 0), MCE_LOST);
    assert_int_equal(judge(ser, MCG_EIPV, SRAR, MCI_VALID), MCE_LOST); // an instruction fetch
    assert_int_equal(judge(ser, MCG_EIPV, SRAO, SRAR), MCE_LOST);
    // Broadcast: on the cores that it does not hit.
    assert_int_equal(judge(ser, MCG_RIPV, SRAR, 0), MCE_GO_ON);
    assert_int_equal(judge(ser, MCG_RIPV, 0, 0), MCE_GO_ON);
}

static void test_goes_on(void **state)
{
    (void)state;
    const uint64_t ser = MCG_CAP_SER_P;
    assert_int_equal(judge(ser, MCG_RIPV, MCI_VALID, 0), MCE_GO_ON); // corrected
    assert_int_equal(judge(ser, MCG_RIPV, SRAO, 0), MCE_GO_ON);      // may wait
    assert_int_equal(judge(ser, MCG_RIPV, ERROR, 0), MCE_GO_ON);     // no action required
    // A bank that does not report (EN clear) had no part in it.
    assert_int_equal(judge(0, MCG_RIPV, MCI_VALID | MCI_UC | MCI_PCC, 0), MCE_GO_ON);
    assert_int_equal(judge(0, MCG_RIPV, MCI_UC | MCI_EN | MCI_PCC, 0), MCE_GO_ON); // not valid
}

static void test_fatal(void **state)
{
    (void)state;
    const uint64_t ser = MCG_CAP_SER_P, back = MCG_RIPV | MCG_EIPV;
    assert_int_equal(judge(ser, back, SRAR, ERROR | MCI_PCC), MCE_FATAL);
    assert_int_equal(judge(ser, back, SRAR | MCI_OVER, 0), MCE_FATAL); // and what else?
    assert_int_equal(judge(0, back, ERROR, 0), MCE_FATAL);             // no recovery on this CPU
    assert_int_equal(judge(ser, 0, 0, 0), MCE_FATAL);                  // nowhere to go back to
    assert_int_equal(judge(ser, MCG_EIPV, SRAO, 0), MCE_FATAL);
    assert_int_equal(mce_judge(0, 0, NULL, 0), MCE_FATAL);             // no banks at all
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guest_only),
        cmocka_unit_test(test_goes_on),
        cmocka_unit_test(test_fatal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
